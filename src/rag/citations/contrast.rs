//! Words of which one in the place of another makes a sentence false. Vectors of words cannot tell
//! them apart: opposites and things of one kind stand in the same company.

use crate::rag::words::{Vocabulary, Word};
use std::collections::{HashMap, HashSet};

/// Sets of English words that exclude each other; between strokes, words that say the same.
const ENGLISH: [&str; 44] = [
    "he him his himself/she her hers herself",
    "before/after afterwards",
    "above over/below under beneath underneath",
    "up upward upwards/down downward downwards",
    "inside within indoors/outside outdoors",
    "first/last/second/third/fourth/fifth",
    "always/sometimes/rarely seldom",
    "all every everyone everybody/some someone somebody/few",
    "more greater/less fewer",
    "most/least",
    "early earlier/late later",
    "left/right",
    "north northern/south southern/east eastern/west western",
    "red/green/blue/yellow/white/black/brown/grey gray/golden gold/silver/purple/pink",
    "monday/tuesday/wednesday/thursday/friday/saturday/sunday",
    "january/february/april/june/july/august/september/october/november/december",
    "spring/summer/autumn/winter",
    "morning/noon/afternoon/evening/night midnight",
    "day daytime/night nighttime",
    "second/minute/hour/week/month/year/century",
    "king/queen/prince/princess",
    "father/mother/son/daughter/brother/sister/uncle/aunt/grandfather/grandmother/husband/wife",
    "man/woman/boy/girl",
    "lord/lady",
    "horse/cow/ox/dog/cat/wolf/fox/bear/lion/tiger/pig/sheep/goat/hare/rabbit/mouse/rat/donkey/deer",
    "eagle/raven/crow/dove/swan/goose/duck/hen/cock/owl/stork",
    "gold golden/silver/copper/iron/stone/wood wooden/glass",
    "bread/meat/fish/cheese/milk/wine/water/honey/butter",
    "head/hand/foot/arm/leg/eye/ear/nose/mouth/finger",
    "sea/river/lake/mountain/forest/desert/island",
    "house/castle/palace/hut/church/barn/mill",
    "big large great huge/small little tiny",
    "old/young",
    "rich wealthy/poor",
    "good/bad evil wicked",
    "happy glad joyful/sad unhappy sorrowful/angry",
    "beautiful pretty handsome/ugly",
    "strong/weak",
    "hot warm/cold",
    "high tall/low short",
    "long/short",
    "new/old",
    "alive living/dead",
    "open/close shut",
];

/// More of them: what is done, and how.
const ENGLISH_DEEDS: [&str; 26] = [
    "love loved/hate hated",
    "win won/lose lost",
    "increase rise rose grow grew/decrease fall fell drop dropped decline",
    "begin began start started/end ended finish finished stop stopped",
    "arrive arrived come came/leave left depart departed",
    "buy bought/sell sold",
    "give gave/take took/steal stole",
    "live lived/die died",
    "remember/forget forgot",
    "find found/lose lost",
    "laugh laughed/weep wept cry cried",
    "allow allowed permit permitted/forbid forbade prohibit prohibited",
    "accept accepted agree agreed/refuse refused reject rejected/deny denied",
    "succeed succeeded/fail failed",
    "easy easily/difficult hard",
    "fast quick quickly swift/slow slowly",
    "full/empty",
    "light bright/dark",
    "near close/far distant",
    "safe/dangerous",
    "clean/dirty",
    "wet/dry",
    "true/false",
    "wise clever/foolish stupid",
    "brave bold/cowardly timid afraid",
    "lazy idle/diligent industrious",
];

/// Which words exclude each other.
#[derive(Debug, Clone, Default)]
pub(in crate::rag) struct Contrasts {
    /// Of a stem: the sets that it is in, and its place in each.
    places: HashMap<String, Vec<(usize, usize)>>,
}

impl Contrasts {
    /// The sets of a keyword index's language; none but for English.
    pub(in crate::rag) fn new(language: &str, vocabulary: &Vocabulary) -> Self {
        let mut contrasts = Self::default();
        if language != "english" {
            return contrasts;
        }
        for (set, line) in ENGLISH.iter().chain(&ENGLISH_DEEDS).enumerate() {
            for (place, group) in line.split('/').enumerate() {
                for word in vocabulary.words(group) {
                    let places = contrasts.places.entry(word.stem).or_default();
                    if !places.contains(&(set, place)) {
                        places.push((set, place));
                    }
                }
            }
        }
        contrasts
    }

    /// Whether `claim` has a word that `source` has not, where the source has one that excludes it.
    pub(super) fn opposed(&self, claim: &[Word], source: &[Word]) -> bool {
        let stems: HashSet<&str> = source.iter().map(|word| word.stem.as_str()).collect();
        let mut there: HashMap<usize, Vec<usize>> = HashMap::new();
        for (set, place) in stems.iter().filter_map(|stem| self.places.get(*stem)).flatten() {
            there.entry(*set).or_default().push(*place);
        }
        claim.iter().filter(|word| !stems.contains(word.stem.as_str())).any(|word| {
            self.places
                .get(&word.stem)
                .into_iter()
                .flatten()
                .any(|(set, place)| there.get(set).is_some_and(|places| !places.contains(place)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_excludes_what_is_said_is_opposed() {
        let vocabulary = Vocabulary::new("english").unwrap();
        let contrasts = Contrasts::new("english", &vocabulary);
        let opposed = |claim: &str, source: &str| {
            contrasts.opposed(&vocabulary.words(claim), &vocabulary.words(source))
        };
        assert!(opposed("the queen left before noon", "the queen left after noon"));
        assert!(opposed("a large house", "a small house"));
        assert!(!opposed("a large house", "a huge house"));
        assert!(opposed("she ran", "he ran"));
        assert!(!opposed("she ran", "he saw her and ran"));
        assert!(!opposed("a house", "a river"));
        assert!(opposed("prices increased", "prices fell"));
    }
}
