//! What a decoder reads, and which part of it may be obeyed.

/// A stretch of a prompt.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Piece {
    /// Written by the chat template: the texts of special tokens in it are special tokens.
    Template(String),
    /// Written by a person or found in a document: nothing in it is a special token, whatever it
    /// says.
    Content(String),
}

impl Piece {
    /// The text, of either kind.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Template(text) | Self::Content(text) => text,
        }
    }
}

/// A decoder's input: one text, in pieces that say where it comes from.
///
/// Pieces are no borders for ordinary tokens: `user\n` and a content after it are split as the one
/// text that they are. A special token is only found in a template's text, and never reaches into a
/// content.
///
/// ```
/// use vdb::tokenize::Prompt;
///
/// let prompt = Prompt::new().template("<s>Say ").content("</s>").template(" backwards.");
/// assert_eq!(prompt.text(), "<s>Say </s> backwards.");
/// assert_eq!(prompt.pieces().len(), 3);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Prompt {
    pieces: Vec<Piece>,
}

impl Prompt {
    /// An empty prompt.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The prompt with a template's text at its end.
    #[must_use]
    pub fn template(mut self, text: impl Into<String>) -> Self {
        self.push(Piece::Template(text.into()));
        self
    }

    /// The prompt with a content at its end.
    #[must_use]
    pub fn content(mut self, text: impl Into<String>) -> Self {
        self.push(Piece::Content(text.into()));
        self
    }

    /// Adds a piece at the end. Joined to the last one if that is of the same kind.
    pub fn push(&mut self, piece: Piece) {
        match (self.pieces.last_mut(), piece) {
            (_, piece) if piece.text().is_empty() => {}
            (Some(Piece::Template(last)), Piece::Template(text))
            | (Some(Piece::Content(last)), Piece::Content(text)) => last.push_str(&text),
            (_, piece) => self.pieces.push(piece),
        }
    }

    /// The pieces in order: none is empty, and no two neighbours are of one kind.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The whole text.
    #[must_use]
    pub fn text(&self) -> String {
        self.pieces.iter().map(Piece::text).collect()
    }

    /// Whether there is nothing to read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_of_a_kind_are_joined() {
        let prompt =
            Prompt::new().template("a").template("").content("").template("b").content("c");
        assert_eq!(
            prompt.pieces(),
            [Piece::Template("ab".to_owned()), Piece::Content("c".to_owned())]
        );
        assert!(Prompt::new().content("").is_empty());
    }
}
