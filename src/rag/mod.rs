//! Answers from documents: passages are found, their sentences ranked, a decoder writes from the best
//! of them, and every sentence that it wrote is compared with what it should rest on.
//!
//! What is retrieved is data. It never becomes part of a prompt's form, and a citation is shown only
//! where the span that it names supports the sentence.

mod answer;
mod chat;
mod citations;
mod comparison;
mod confidence;
mod cues;
mod evidence;
mod follow_up;
mod logistic;
#[doc(hidden)]
pub mod measure;
mod options;
mod passages;
mod prompt;
mod question;
#[cfg(feature = "files")]
mod questions;
mod rarity;
mod rerank;
mod sources;
mod strategy;
mod words;

pub use answer::{Answer, Answered, Generated, Timings, Tokens};
pub use chat::Chat;
pub use citations::{AnswerSentence, Citation, SUPPORTED};
pub use confidence::ANSWERABLE;
pub use evidence::{Evidence, Figures};
pub use options::{AskOptions, Context, Style};
pub use passages::{DropReason, Dropped, Passage};
#[cfg(feature = "files")]
pub use questions::{QuestionOptions, QuestionReport, write_questions};

pub use strategy::Strategy;

use crate::db::Collection;
use crate::encode::{Encoder, EncoderHandle, InputKind};
use crate::error::{Error, Result};
use crate::generate::{Constraint, GenerateOptions, Generator, Unit};
#[cfg(feature = "sandbox")]
use crate::sandbox::Sandbox;
use crate::text::sentences;
use crate::tokenize::Prompt;
use citations::{Claim, Contrasts, best_support, is_supported_by, without_markers};
use comparison::compare;
use confidence::Signs;
use evidence::{Ranked, rank};
use follow_up::Question;
use prompt::Excerpt;
use rarity::Rarity;
use sources::{Asked, Reader, Source};
use std::ops::{ControlFlow, Range};
use std::time::Instant;
use words::{Vocabulary, Word, stems};

/// Sentences of passages that are read for one question; it is a few seconds' work.
const MOST_SENTENCES: usize = 1024;

/// What happens while a question is answered.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum AskEvent<'a> {
    /// Passages were found and their sentences ranked.
    Sources {
        /// What was found, most relevant first.
        passages: &'a [Passage],
        /// The best sentences.
        evidence: &'a [Evidence],
        /// Probability that the passages hold an answer, 0 to 1.
        confidence: f32,
    },
    /// The decoder wrote this. Empty while it reads.
    Text(&'a str),
}

/// Is told what happens; where it breaks, the decoder stops and what it wrote stays.
pub type OnEvent<'e> = &'e mut dyn FnMut(AskEvent<'_>) -> ControlFlow<()>;

/// Answers questions from the documents of a collection, or from passages in hand.
///
/// Without a generator the answer is the evidence alone.
pub struct Rag<'a> {
    collection: Option<&'a Collection>,
    encoder: Option<EncoderHandle>,
    generator: Option<&'a dyn Generator>,
    #[cfg(feature = "sandbox")]
    sandbox: Option<&'a Sandbox>,
    vocabulary: Vocabulary,
    contrasts: Contrasts,
}

impl<'a> Rag<'a> {
    /// Answers from `collection`, whose encoder ranks sentences. In a collection without one, words
    /// alone do.
    ///
    /// # Errors
    /// [`Error::Parameter`] where the collection's language is not known to this build.
    pub fn new(collection: &'a Collection) -> Result<Self> {
        let language = collection.stats().language;
        Ok(Self { collection: Some(collection), ..Self::of(&language, collection.encoder())? })
    }

    /// Answers from passages that the caller brings, in English: [`Rag::ask_passages`].
    ///
    /// # Errors
    /// None so far.
    pub fn without_collection(encoder: impl Into<EncoderHandle>) -> Result<Self> {
        let encoder: EncoderHandle = encoder.into();
        Self::of("english", Some(&encoder))
    }

    fn of(language: &str, encoder: Option<&EncoderHandle>) -> Result<Self> {
        let vocabulary = Vocabulary::new(language)?;
        Ok(Self {
            collection: None,
            encoder: encoder.cloned(),
            generator: None,
            #[cfg(feature = "sandbox")]
            sandbox: None,
            contrasts: Contrasts::new(language, &vocabulary),
            vocabulary,
        })
    }

    /// What writes the answers. Default: nothing, and the answer is the evidence.
    #[must_use]
    pub fn generator(mut self, generator: &'a dyn Generator) -> Self {
        self.generator = Some(generator);
        self
    }

    /// Where programs run that the model writes ([`Strategy`]). Default: nowhere.
    #[cfg(feature = "sandbox")]
    #[must_use]
    pub fn sandbox(mut self, sandbox: &'a Sandbox) -> Self {
        self.sandbox = Some(sandbox);
        self
    }

    /// Checks a text as if it were an answer to `question` from these passages: its sentences, each
    /// with what supports it.
    ///
    /// # Errors
    /// Where the encoder fails.
    pub fn check(
        &self,
        question: &str,
        passages: &[Passage],
        text: &str,
    ) -> Result<Vec<AnswerSentence>> {
        let encoder: Option<&dyn Encoder> =
            self.encoder.as_ref().map(EncoderHandle::get).transpose()?;
        let reader = Reader { vocabulary: &self.vocabulary, encoder };
        let (asked, sources) = reader.read(question, passages)?;
        let check = Check { asked: &asked, sources: &sources, reader, contrasts: &self.contrasts };
        Ok(check.sentences(text)?.1)
    }

    /// A conversation, in which questions may point back to earlier ones.
    #[must_use]
    pub fn chat(&self) -> Chat<'_> {
        Chat::new(self)
    }

    /// Answers `question` from the collection. A question that nothing is found for is answered
    /// with [`Answered::NotFound`].
    ///
    /// # Errors
    /// [`Error::Parameter`] for an empty question or options out of range, those of
    /// [`crate::Query::run`] and [`Generator::generate`].
    pub fn ask(
        &self,
        question: &str,
        options: &AskOptions,
        on_event: OnEvent<'_>,
    ) -> Result<Answer> {
        self.ask_as(&Question::alone(question), options, on_event)
    }

    /// [`Rag::ask`] with a question of a conversation.
    fn ask_as(
        &self,
        question: &Question<'_>,
        options: &AskOptions,
        on_event: OnEvent<'_>,
    ) -> Result<Answer> {
        options.check(&question.text)?;
        let Some(collection) = self.collection else {
            return Err(Error::parameter("collection", "none; pass the passages to ask_passages"));
        };
        let start = Instant::now();
        let read = options.top_k.saturating_mul(rerank::READ);
        let mut query = collection.query(&question.text).top_k(read);
        if let Some(filter) = &options.filter {
            query = query.filter(filter.clone());
        }
        if let Some(mode) = options.mode {
            query = query.mode(mode);
        }
        let words = self.vocabulary.words(&question.text);
        let rarity = self.rarity(&words, &[])?;
        let hits = rerank::best(query.run()?, &words, &self.vocabulary, &rarity, options.top_k);
        let (passages, dropped) = passages::from_hits(hits);
        self.answer(question, (passages, dropped), options, on_event, start)
    }

    /// Answers `question` from these passages, the most relevant first; they are numbered anew.
    ///
    /// # Errors
    /// Those of [`Rag::ask`].
    pub fn ask_passages(
        &self,
        question: &str,
        passages: Vec<Passage>,
        options: &AskOptions,
        on_event: OnEvent<'_>,
    ) -> Result<Answer> {
        self.ask_passages_as(&Question::alone(question), passages, options, on_event)
    }

    fn ask_passages_as(
        &self,
        question: &Question<'_>,
        passages: Vec<Passage>,
        options: &AskOptions,
        on_event: OnEvent<'_>,
    ) -> Result<Answer> {
        options.check(&question.text)?;
        let start = Instant::now();
        let found = passages::without_repetitions(passages);
        self.answer(question, found, options, on_event, start)
    }

    /// How rare a question's words are: in the collection, else in the sentences in hand.
    fn rarity(&self, words: &[Word], sources: &[Source<'_>]) -> Result<Rarity> {
        let mut wanted: Vec<&str> = stems(words).into_iter().collect();
        wanted.sort_unstable();
        if let Some(collection) = self.collection {
            let (found, texts) = collection.frequencies(&wanted)?;
            return Ok(Rarity::new(wanted.into_iter().zip(found), texts));
        }
        let count = |stem: &&str| {
            let has = |source: &&Source<'_>| source.words.iter().any(|word| word.stem == *stem);
            sources.iter().filter(has).count() as u64
        };
        let found: Vec<u64> = wanted.iter().map(count).collect();
        Ok(Rarity::new(wanted.into_iter().zip(found), sources.len() as u64))
    }

    fn answer(
        &self,
        question: &Question<'_>,
        (passages, mut dropped): (Vec<Passage>, Vec<Dropped>),
        options: &AskOptions,
        on_event: OnEvent<'_>,
        start: Instant,
    ) -> Result<Answer> {
        let mut timings = Timings { retrieval: start.elapsed(), ..Timings::default() };
        let since = Instant::now();
        let passages = bounded(passages, &mut dropped);
        let encoder = self.encoder.as_ref().filter(|_| !passages.is_empty());
        let encoder: Option<&dyn Encoder> = encoder.map(EncoderHandle::get).transpose()?;
        let reader = Reader { vocabulary: &self.vocabulary, encoder };
        let (asked, sources) = reader.read(&question.ranked_by, &passages)?;
        let compared = compare(&asked, &sources);
        let ranked = rank(&asked, &sources, &compared);
        let evidence = shown(&ranked, &sources, options.evidence);
        let rarity = self.rarity(&asked.words, &sources)?;
        let signs = Signs::of(&asked, &sources, &compared, &rarity);
        let confidence = signs.map_or(0.0, |signs| signs.confidence());
        timings.evidence = since.elapsed();
        let event = AskEvent::Sources { passages: &passages, evidence: &evidence, confidence };
        let going_on = on_event(event).is_continue();

        let mut answer = Answer {
            question: question.text.to_string(),
            answered: Answered::NotFound,
            text: String::new(),
            sentences: Vec::new(),
            generated: None,
            worked: None,
            reasoning: Vec::new(),
            evidence,
            passages: Vec::new(),
            dropped: Vec::new(),
            confidence,
            prompt: None,
            tokens: Tokens::default(),
            timings,
        };
        let found = !sources.is_empty() && confidence >= options.min_confidence;
        let check = Check { asked: &asked, sources: &sources, reader, contrasts: &self.contrasts };
        if found {
            let writes = options.style != Style::Extractive && going_on;
            if let Some(generator) = self.generator.filter(|_| writes) {
                let excerpts = match options.context {
                    Context::Evidence => {
                        prompt::from_evidence(&ranked, &sources, options.sentences)
                    }
                    Context::Passages => prompt::from_passages(&passages),
                };
                let (prompt, excerpts) =
                    fitting(generator, &question.text, excerpts, &passages, options, &mut dropped)?;
                if let Some(strategy) = &options.strategy {
                    let prompter = self.prompter(generator, strategy, options)?;
                    let task = (&*question.text, &*strategy::context(&excerpts));
                    strategy::work(&prompter, strategy, task, &check, on_event, &mut answer)?;
                } else {
                    generate(
                        generator,
                        &prompt,
                        &excerpts,
                        &check,
                        options,
                        on_event,
                        &mut answer,
                    )?;
                    answer.prompt = Some(prompt);
                }
            }
            if answer.answered == Answered::NotFound {
                answer.show_evidence();
            }
        }
        answer.passages.clone_from(&passages);
        answer.dropped = dropped;
        answer.timings.total = start.elapsed();
        Ok(answer)
    }
}

/// Lets the decoder write, and checks what it wrote.
fn generate(
    generator: &dyn Generator,
    prompt: &Prompt,
    excerpts: &[(usize, String)],
    check: &Check<'_>,
    options: &AskOptions,
    on_event: OnEvent<'_>,
    answer: &mut Answer,
) -> Result<()> {
    let quotes = options.style == Style::Quote;
    let generate = GenerateOptions {
        constraint: if quotes {
            let texts = excerpts.iter().map(|(_, text)| text);
            Some(Constraint::quotation(texts, Unit::Words)?)
        } else {
            None
        },
        ..options.generate.clone()
    };
    let since = Instant::now();
    let written =
        generator.generate(prompt, &generate, &mut |text| on_event(AskEvent::Text(text)))?;
    answer.timings.generation = since.elapsed();
    answer.timings.first_token = written.first_token;
    answer.tokens = Tokens {
        prompt: written.prompt_tokens,
        reused: written.reused_tokens,
        generated: written.generated_tokens,
    };
    let since = Instant::now();
    let (text, sentences) = check.sentences(&written.text)?;
    answer.timings.citations = since.elapsed();
    if sentences.iter().any(|sentence| sentence.citation.is_some()) {
        answer.answered = if quotes { Answered::Quote } else { Answered::Generated };
        answer.text = text;
        answer.sentences.clone_from(&sentences);
    }
    answer.generated = Some(Generated { text: written.text, finish: written.finish, sentences });
    Ok(())
}

impl std::fmt::Debug for Rag<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rag")
            .field("collection", &self.collection.map(Collection::name))
            .field("generates", &self.generator.is_some())
            .finish_non_exhaustive()
    }
}

impl Answer {
    /// Answers with the first sentence of the evidence, which supports itself.
    fn show_evidence(&mut self) {
        let Some(first) = self.evidence.first() else { return };
        self.answered = Answered::Evidence;
        self.text.clone_from(&first.text);
        let citation = Citation {
            passage: first.passage,
            document: first.document.clone(),
            span: first.span.clone(),
            text: first.text.clone(),
            score: 1.0,
        };
        self.sentences = vec![AnswerSentence {
            span: 0..first.text.len(),
            text: first.text.clone(),
            citation: Some(citation),
            support: 1.0,
            rejected: Vec::new(),
        }];
    }
}

/// Leaves out the least relevant passages where there are more sentences than are read.
fn bounded(mut passages: Vec<Passage>, dropped: &mut Vec<Dropped>) -> Vec<Passage> {
    let mut room = MOST_SENTENCES;
    let keeps = passages
        .iter()
        .take_while(|passage| {
            let count = sentences(&passage.text).len();
            let fits = count <= room;
            room = room.saturating_sub(count);
            fits
        })
        .count()
        .max(1);
    let rest = passages.split_off(keeps.min(passages.len()));
    dropped.extend(rest.iter().map(|passage| Dropped::new(passage, DropReason::Budget)));
    passages
}

/// The best sentences, each text once.
fn shown(ranked: &[Ranked], sources: &[Source<'_>], count: usize) -> Vec<Evidence> {
    let mut evidence: Vec<Evidence> = Vec::new();
    for best in ranked {
        if evidence.len() == count {
            break;
        }
        let Some(source) = sources.get(best.source) else { continue };
        if evidence.iter().all(|known| known.text != source.text()) {
            evidence.push(Evidence::new(source, best));
        }
    }
    evidence
}

/// A prompt that fits the budget and the decoder, and the texts in it; the least relevant excerpt
/// goes first.
fn fitting(
    generator: &dyn Generator,
    question: &str,
    mut excerpts: Vec<Excerpt>,
    passages: &[Passage],
    options: &AskOptions,
    dropped: &mut Vec<Dropped>,
) -> Result<(Prompt, Vec<(usize, String)>)> {
    let count = |excerpts: &[Excerpt]| -> Result<(Prompt, usize)> {
        let prompt = generator.prompt(&prompt::messages(question, excerpts, passages))?;
        let tokens = generator.count(&prompt)?;
        Ok((prompt, tokens))
    };
    let (_, bare) = count(&[])?;
    let room = generator.context().saturating_sub(options.generate.max_tokens);
    let most = room.min(bare.saturating_add(options.budget));
    loop {
        let (prompt, tokens) = count(&excerpts)?;
        if tokens <= most || excerpts.is_empty() {
            return Ok((prompt, prompt::texts(&excerpts, passages)));
        }
        if let [only] = excerpts.as_mut_slice() {
            // Of the only one, as much as there is room for.
            if only.shorten(passages, (tokens - bare, most.saturating_sub(bare))) {
                continue;
            }
        }
        let Some(last) = excerpts.pop() else { continue };
        let passage = passages.iter().find(|passage| passage.number == last.passage);
        dropped.extend(passage.map(|passage| Dropped::new(passage, DropReason::Budget)));
    }
}

/// What sentences of an answer are compared with.
struct Check<'a> {
    asked: &'a Asked,
    sources: &'a [Source<'a>],
    reader: Reader<'a>,
    contrasts: &'a Contrasts,
}

impl Check<'_> {
    /// `written` without its markers, and its sentences with what supports each.
    fn sentences(&self, written: &str) -> Result<(String, Vec<AnswerSentence>)> {
        let (text, markers) = without_markers(written.trim());
        let spans = sentences(&text);
        let slices: Vec<&str> =
            spans.iter().map(|span| text.get(span.clone()).unwrap_or_default()).collect();
        let inputs: Vec<(&str, InputKind)> =
            slices.iter().map(|slice| (*slice, InputKind::Document)).collect();
        let embeddings = self.reader.embeddings(&inputs)?;
        let mut checked = Vec::with_capacity(spans.len());
        for (i, ((span, slice), embedding)) in
            spans.iter().zip(&slices).zip(&embeddings).enumerate()
        {
            let named = named(&markers, span, spans.get(i + 1));
            let words = self.reader.vocabulary.words(slice);
            let claim = Claim { text: slice, words: &words, embedding, named: &named };
            checked.push(self.sentence(span.clone(), &claim));
        }
        Ok((text, checked))
    }

    fn sentence(&self, span: Range<usize>, claim: &Claim<'_>) -> AnswerSentence {
        let best = best_support(claim, self.asked, self.sources, self.contrasts);
        let support = best.as_ref().map_or(0.0, |best| best.score);
        let citation = best
            .filter(|best| best.score >= SUPPORTED)
            .and_then(|best| citation(self.sources.get(best.sources)?, best.score));
        let cited = citation.as_ref().map(|citation| citation.passage);
        let rejected = claim.named.iter().copied().filter(|number| {
            Some(*number) != cited
                && !is_supported_by(*number, claim, self.asked, self.sources, self.contrasts)
        });
        AnswerSentence {
            span,
            text: claim.text.to_owned(),
            rejected: rejected.collect(),
            citation,
            support,
        }
    }
}

fn citation(span: &[Source<'_>], score: f32) -> Option<Citation> {
    let (first, last) = (span.first()?, span.last()?);
    let passage = first.passage;
    let within = first.within.start..last.within.end;
    Some(Citation {
        passage: passage.number,
        document: passage.document.clone(),
        span: passage.span.start + within.start..passage.span.start + within.end,
        text: passage.text.get(within)?.to_owned(),
        score,
    })
}

/// The passages named in a sentence, or between it and the next one.
fn named(
    markers: &[(usize, Vec<usize>)],
    span: &Range<usize>,
    next: Option<&Range<usize>>,
) -> Vec<usize> {
    let end = next.map_or(usize::MAX, |next| next.start);
    let own = markers.iter().filter(|(at, _)| (span.start + 1..=end).contains(at));
    let mut numbers: Vec<usize> = own.flat_map(|(_, numbers)| numbers).copied().collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

#[cfg(test)]
mod tests;
