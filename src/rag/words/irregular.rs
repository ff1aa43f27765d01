//! English forms that no stemmer brings together with their bases.

use crate::index::WordReader;
use std::collections::HashMap;

/// A base, and its other forms.
const FORMS: &str = "\
arise arose arisen|awake awoke awoken|bear bore borne|beat beaten|become became|begin began begun|\
bend bent|bind bound|bite bit bitten|bleed bled|blow blew blown|break broke broken|bring brought|\
build built|burn burnt|buy bought|catch caught|choose chose chosen|cling clung|come came|creep \
crept|deal dealt|dig dug|draw drew drawn|dream dreamt|drink drank drunk|drive drove driven|dwell \
dwelt|eat ate eaten|fall fell fallen|feed fed|feel felt|fight fought|find found|flee fled|fling \
flung|fly flew flown|forbid forbade forbidden|forget forgot forgotten|forgive forgave forgiven|\
freeze froze frozen|get got gotten|give gave given|go went gone|grind ground|grow grew grown|hang \
hung|hear heard|hide hid hidden|hold held|keep kept|kneel knelt|know knew known|lay laid|lead led|\
lean leant|leap leapt|learn learnt|leave left|lend lent|light lit|lose lost|make made|mean meant|\
meet met|mistake mistook mistaken|pay paid|plead pled|prove proven|ride rode ridden|ring rang rung|\
rise rose risen|run ran|say said|see saw seen|seek sought|sell sold|send sent|sew sewn|shake shook \
shaken|shear shorn|shine shone|shoot shot|show shown|shrink shrank shrunk|sing sang sung|sink sank \
sunk|sit sat|slay slew slain|sleep slept|slide slid|sling slung|smell smelt|speak spoke spoken|\
speed sped|spend spent|spill spilt|spin spun|spit spat|spoil spoilt|spring sprang sprung|stand \
stood|steal stole stolen|stick stuck|sting stung|stink stank|stride strode|strike struck stricken|\
string strung|strive strove|swear swore sworn|sweep swept|swell swollen|swim swam swum|swing swung|\
take took taken|teach taught|tear tore torn|tell told|think thought|throw threw thrown|tread trod \
trodden|understand understood|undertake undertook|wake woke woken|wear wore worn|weave wove woven|\
weep wept|win won|wind wound|withdraw withdrew withdrawn|wring wrung|write wrote written|\
child children|man men|woman women|foot feet|tooth teeth|goose geese|mouse mice|ox oxen|wife wives|\
knife knives|life lives|wolf wolves|leaf leaves|loaf loaves|thief thieves|half halves|calf calves|\
shelf shelves|self selves|person people|die dying dead died|lie lying|tie tying|good better best|\
bad worse worst|far further farther|old elder eldest";

/// From an irregular form to the stem of its base.
#[derive(Debug, Clone, Default)]
pub(super) struct Irregular {
    bases: HashMap<&'static str, String>,
}

impl Irregular {
    pub(super) fn english(reader: &WordReader) -> Self {
        let mut bases = HashMap::new();
        for line in FORMS.split('|') {
            let mut forms = line.split_whitespace();
            let Some(base) = forms.next() else { continue };
            let stem = reader.words(base).into_iter().next().map(|word| word.stem);
            for form in forms {
                bases.insert(form, stem.clone().unwrap_or_else(|| base.to_owned()));
            }
        }
        Self { bases }
    }

    pub(super) fn base(&self, form: &str) -> Option<&String> {
        self.bases.get(form)
    }
}
