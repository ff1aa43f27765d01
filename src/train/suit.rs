//! Whether pairs are enough for a loss.

use super::loss::Loss;
use crate::error::{Error, Result};
use crate::pairs::Pairs;

/// Whether this is enough for a loss and batches of `batch` pairs.
///
/// # Errors
/// [`Error::Parameter`] saying what is missing.
pub(super) fn suit(pairs: &Pairs, loss: Loss, batch: usize) -> Result<()> {
    let refuse = |reason: String| Err(Error::parameter("train", reason));
    if loss.needs_company() {
        if batch < 2 {
            return Err(Error::parameter(
                "batch",
                format!(
                    "{batch}; this loss compares each pair with the others of its batch, so a \
                     batch needs at least 2 pairs"
                ),
            ));
        }
        if pairs.pairs.len() < 2 {
            return refuse(
                "one pair is too few: this loss compares each pair with others".to_owned(),
            );
        }
        let first = pairs.pairs.first().map(|p| p.query);
        if pairs.pairs.iter().all(|p| Some(p.query) == first) {
            return refuse(
                "all queries are the same; nothing can be learnt from telling their documents \
                 apart"
                    .to_owned(),
            );
        }
        if pairs.pairs.iter().all(|p| Some(p.positive) == first) {
            return refuse("all positives are the same; there is nothing to tell apart".to_owned());
        }
    }
    let without = pairs.pairs.iter().filter(|p| p.negatives.is_empty()).count();
    if loss.needs_negatives() && without > 0 {
        return refuse(format!(
            "{without} of {} pairs have no negative, which this loss needs",
            pairs.pairs.len()
        ));
    }
    let unscored = pairs.pairs.iter().filter(|p| p.score.is_nan()).count();
    if loss.needs_scores() && unscored > 0 {
        return refuse(format!(
            "{unscored} of {} pairs have no score, which this loss needs",
            pairs.pairs.len()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pairs::Fields;

    fn read(bytes: &[u8]) -> Pairs {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pairs.jsonl");
        std::fs::write(&path, bytes).unwrap();
        Pairs::read(&path, &Fields::default()).unwrap()
    }

    #[test]
    fn data_that_does_not_suit_a_loss_is_refused() {
        let reason = |lines: &[u8], loss: Loss, batch: usize| {
            suit(&read(lines), loss, batch).unwrap_err().to_string()
        };
        let one = b"{\"query\":\"a\",\"positive\":\"b\"}\n";
        let same = b"{\"query\":\"a\",\"positive\":\"b\"}\n{\"query\":\"a\",\"positive\":\"c\"}\n";
        assert!(reason(one, Loss::default(), 8).contains("one pair is too few"));
        assert!(reason(same, Loss::default(), 8).contains("all queries are the same"));
        assert!(reason(same, Loss::default(), 1).contains("at least 2 pairs"));
        assert!(reason(same, Loss::MarginMse, 8).contains("2 of 2 pairs have no negative"));
        assert!(reason(same, Loss::Cosent { scale: 20.0 }, 8).contains("all queries are the same"));
        let scored =
            b"{\"query\":\"a\",\"positive\":\"b\"}\n{\"query\":\"x\",\"positive\":\"c\"}\n";
        assert!(reason(scored, Loss::Cosent { scale: 20.0 }, 8).contains("have no score"));
        assert!(suit(&read(scored), Loss::default(), 2).is_ok());
    }
}
