//! A run: steps over batches, measurements, checkpoints, and the result. What is learnt is a [`Task`].

use super::checkpoint::{self, Best, State};
use super::encoder::{Sums, TrainableEncoder};
use super::event::{DataSummary, Outcome, StepSummary, TrainEvent};
use super::measure::DevQuality;
use super::optimizer::{Moments, norm};
use super::options::RunOptions;
use super::random::mix;
use crate::error::{Error, Result};
use std::ops::ControlFlow;
use std::time::Instant;

/// What a run learns.
pub(super) trait Task {
    /// How it goes.
    fn options(&self) -> &RunOptions;

    /// What is trained.
    fn encoder(&self) -> &TrainableEncoder;

    /// The batches of an epoch, as numbers of pairs: by the seed and the epoch alone.
    fn batches(&self, epoch: u64) -> Vec<Vec<usize>>;

    /// Loss and gradients of one batch. `chance` is another number for each batch of the run.
    fn gradient(&self, chance: u64, batch: &[usize]) -> Result<(f64, Sums)>;

    /// The dev figures that the run is to improve; `None` without a dev set.
    fn before(&self) -> Result<Option<DevQuality>> {
        self.measure()
    }

    /// The dev figures of the weights as they are; `None` without a dev set.
    fn measure(&self) -> Result<Option<DevQuality>>;

    /// Changes the best weights before they are the result; whether it did.
    fn settle(&self) -> Result<bool> {
        Ok(false)
    }

    /// Writes the result into the output folder.
    fn write(&self, end: &End<'_>) -> Result<()>;
}

/// How a run ended, for its result.
pub(super) struct End<'a> {
    pub(super) data: &'a DataSummary,
    pub(super) state: &'a State,
    pub(super) after: Option<DevQuality>,
}

/// Makes all steps of `task`, whose data is `data` but for the number of steps. `identity` says what
/// decides the weights.
pub(super) fn run(
    task: &dyn Task,
    data: DataSummary,
    identity: String,
    on_event: &mut dyn FnMut(TrainEvent) -> ControlFlow<()>,
) -> Result<Outcome> {
    let mut run = Run::new(task, data, identity)?;
    let mut stopped = on_event(TrainEvent::Data(run.summary.clone())).is_break();
    for warning in run.warnings() {
        stopped |= on_event(TrainEvent::Warning(warning)).is_break();
    }
    if stopped {
        return Err(Error::Stopped);
    }
    run.begin(on_event)?;
    if run.go(on_event)?.is_break() {
        return Ok(run.outcome(true));
    }
    run.finish()
}

struct Run<'a> {
    task: &'a dyn Task,
    options: &'a RunOptions,
    encoder: &'a TrainableEncoder,
    summary: DataSummary,
    state: State,
    moments: Moments,
    started: Instant,
    /// Pairs and seconds of this session's steps.
    seen: (usize, f64),
    after: Option<DevQuality>,
}

impl<'a> Run<'a> {
    fn new(task: &'a dyn Task, mut summary: DataSummary, identity: String) -> Result<Self> {
        let (options, encoder) = (task.options(), task.encoder());
        (summary.trained, summary.parameters) = encoder.parameters();
        let mut steps = 0;
        for epoch in 0..options.epochs {
            steps += groups(task, epoch).len() as u64;
        }
        summary.steps = steps.min(options.max_steps.unwrap_or(u64::MAX));
        if summary.steps == 0 {
            return Err(Error::parameter(
                "train",
                "no batch of two different pairs can be made of these; there is nothing to learn",
            ));
        }
        let state = State {
            step: 0,
            identity,
            before: None,
            best: None,
            without_gain: 0,
            losses: Vec::new(),
            dev: Vec::new(),
            seconds: 0.0,
        };
        let moments = Moments::zero(&encoder.parameters);
        let started = Instant::now();
        Ok(Self {
            task,
            options,
            encoder,
            summary,
            state,
            moments,
            started,
            seen: (0, 0.0),
            after: None,
        })
    }

    fn warnings(&self) -> Vec<String> {
        let DataSummary { overlap, dev_pairs, cut, texts, repeated, .. } = self.summary;
        let mut warnings = Vec::new();
        if overlap > 0 {
            warnings.push(format!(
                "{overlap} of {dev_pairs} dev pairs have a query or a positive that is in the \
                 training data too; what is measured on them says little about other data"
            ));
        }
        if cut > 0 {
            warnings.push(format!(
                "{cut} of {texts} texts are longer than the window; what is beyond it is not learnt"
            ));
        }
        if repeated > 0 {
            warnings.push(format!("{repeated} pairs were there twice and are used once"));
        }
        warnings
    }

    /// Takes up the last checkpoint, or measures the base.
    fn begin(&mut self, on_event: &mut dyn FnMut(TrainEvent) -> ControlFlow<()>) -> Result<()> {
        let folder = &self.options.output;
        let occupied = |what: &str| {
            Error::parameter(
                "output",
                format!(
                    "{} holds {what}; resume that run, or name another folder",
                    folder.display()
                ),
            )
        };
        self.options.refuse_a_model()?;
        std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        match checkpoint::last(folder)? {
            Some(_) if !self.options.resume => return Err(occupied("a checkpoint")),
            Some((place, state)) => {
                if state.identity != self.state.identity {
                    return Err(Error::parameter(
                        "resume",
                        format!(
                            "{} comes from a run with other settings, other data or another base; \
                             name those again, or another folder",
                            place.display()
                        ),
                    ));
                }
                checkpoint::load(&place, &state, &self.encoder.parameters, &mut self.moments)?;
                self.state = state;
                let _ = on_event(TrainEvent::Resumed { step: self.state.step });
            }
            None => {
                if let Some(quality) = self.task.before()? {
                    self.state.before = Some(quality);
                    let _ = on_event(TrainEvent::Dev { step: 0, quality, best: false });
                }
            }
        }
        self.started = Instant::now();
        Ok(())
    }

    /// All steps that are left.
    fn go(
        &mut self,
        on_event: &mut dyn FnMut(TrainEvent) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        let mut step = 0;
        for epoch in 0..self.options.epochs {
            let groups = groups(self.task, epoch);
            let last = step + groups.len() as u64;
            for group in groups {
                step += 1;
                if step <= self.state.step {
                    continue;
                }
                if step > self.summary.steps || self.is_patience_at_an_end() {
                    return Ok(ControlFlow::Continue(()));
                }
                let summary = self.step(step, epoch, &group)?;
                let mut flow = on_event(TrainEvent::Step(summary));
                let end = step == last || step == self.summary.steps;
                let due = |every: Option<u64>| every.map_or(end, |n| step.is_multiple_of(n) || end);
                if due(self.options.evaluate_every) {
                    flow = either(flow, self.evaluate(on_event)?);
                }
                if due(self.options.checkpoint_every) || flow.is_break() {
                    self.save()?;
                    flow = either(flow, on_event(TrainEvent::Checkpoint { step }));
                }
                if flow.is_break() {
                    return Ok(flow);
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn is_patience_at_an_end(&self) -> bool {
        self.options.patience.is_some_and(|patience| self.state.without_gain >= patience.max(1))
    }

    /// One step over the batches of `group`.
    fn step(&mut self, step: u64, epoch: u64, group: &[Vec<usize>]) -> Result<StepSummary> {
        let began = Instant::now();
        let mut loss = 0.0;
        let mut sums: Option<Sums> = None;
        for (nth, batch) in (0u64..).zip(group) {
            let chance = mix(step.wrapping_mul(4096).wrapping_add(nth));
            let (own, gradients) = self.task.gradient(chance, batch)?;
            loss += own;
            match &mut sums {
                Some(sums) => sums.add(&gradients),
                None => sums = Some(gradients),
            }
        }
        let mut sums = sums.unwrap_or_else(|| Sums::zero(&self.encoder.parameters));
        let n = group.len().max(1);
        loss /= n as f64;
        if n > 1 {
            let share = 1.0 / n as f32;
            sums.0.iter_mut().flatten().for_each(|g| *g *= share);
        }
        let length = norm(&sums);
        if !loss.is_finite() || !length.is_finite() {
            return Err(self.diverged(step, loss, length)?);
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of steps"
        )]
        let warmup = (self.summary.steps as f64 * self.options.warmup).ceil() as u64;
        let factor = self.options.schedule.factor(step - 1, warmup, self.summary.steps);
        let rate = self.options.rate() * factor;
        let optimizer = &self.options.optimizer;
        optimizer.step(&self.encoder.parameters, &sums, length, rate, &mut self.moments)?;
        self.state.step = step;
        self.state.losses.push(loss);
        self.seen.0 += group.iter().map(Vec::len).sum::<usize>();
        self.seen.1 += began.elapsed().as_secs_f64();
        let done = self.seen.0 as f64 / self.seen.1.max(1e-9);
        let left = (self.summary.steps - step) as f64;
        let per_step = self.options.batch as f64 * self.options.accumulate as f64;
        Ok(StepSummary {
            step,
            steps: self.summary.steps,
            epoch,
            loss,
            rate,
            norm: length,
            pairs_per_second: done,
            seconds_left: left * per_step / done.max(1e-9),
        })
    }

    /// The error of a run that has left the numbers, which says what of it is kept.
    fn diverged(&self, step: u64, loss: f64, length: f64) -> Result<Error> {
        let folder = self.options.output.display();
        let kept = match checkpoint::last(&self.options.output)? {
            Some((_, state)) => format!("the checkpoint of step {} is in {folder}", state.step),
            None => "there was no checkpoint yet".to_owned(),
        };
        Ok(Error::Model {
            name: self.encoder.spec.name.clone(),
            reason: format!(
                "training diverged at step {step}: loss {loss}, gradient norm {length}; {kept}; try a \
                 lower learning rate than {} or a longer warm-up",
                self.options.rate()
            ),
        })
    }

    /// Measures the dev set and keeps the weights where they are the best so far.
    fn evaluate(
        &mut self,
        on_event: &mut dyn FnMut(TrainEvent) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        let Some(quality) = self.task.measure()? else { return Ok(ControlFlow::Continue(())) };
        let step = self.state.step;
        let best = self.state.best.is_none_or(|best| quality.figure() > best.quality.figure());
        self.state.dev.push((step, quality));
        if best {
            checkpoint::save_best(&self.options.output, &self.encoder.parameters)?;
            self.state.best = Some(Best { step, quality });
            self.state.without_gain = 0;
        } else {
            self.state.without_gain += 1;
        }
        Ok(on_event(TrainEvent::Dev { step, quality, best }))
    }

    fn save(&mut self) -> Result<()> {
        self.state.seconds += self.started.elapsed().as_secs_f64();
        self.started = Instant::now();
        checkpoint::save(&self.options.output, &self.state, &self.encoder.parameters, &self.moments)
    }

    /// Writes the result and removes what only a run that goes on would need.
    fn finish(mut self) -> Result<Outcome> {
        self.state.seconds += self.started.elapsed().as_secs_f64();
        if let Some(best) = self.state.best {
            checkpoint::load_best(&self.options.output, &self.encoder.parameters)?;
            self.after = Some(best.quality);
        }
        if self.task.settle()? {
            self.after = self.task.measure()?;
        }
        self.task.write(&End { data: &self.summary, state: &self.state, after: self.after })?;
        checkpoint::clear(&self.options.output)?;
        Ok(self.outcome(false))
    }

    fn outcome(&self, stopped: bool) -> Outcome {
        Outcome {
            steps: self.state.step,
            stopped,
            before: self.state.before,
            after: self.after.or(self.state.best.map(|best| best.quality)),
            folder: self.options.output.clone(),
        }
    }
}

fn either(a: ControlFlow<()>, b: ControlFlow<()>) -> ControlFlow<()> {
    if a.is_break() { a } else { b }
}

/// The batches of an epoch, as many together as make one step.
fn groups(task: &dyn Task, epoch: u64) -> Vec<Vec<Vec<usize>>> {
    let all = task.batches(epoch);
    all.chunks(task.options().accumulate).map(<[Vec<usize>]>::to_vec).collect()
}
