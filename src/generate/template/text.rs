//! Templates of plain texts, which people write and edit.

use super::{MAX_OUTPUT, MAX_SOURCE, STEPS, environment};
use crate::error::{Error, Result};
use crate::panics;
use minijinja::value::Value;
use minijinja::{Environment, ErrorKind, UndefinedBehavior};
use serde::Serialize;

const ONLY: &str = "text";

/// A Jinja template that makes a text of named values.
#[derive(Clone)]
pub struct TextTemplate {
    name: String,
    environment: Environment<'static>,
}

impl TextTemplate {
    /// A template from its source; `name` is for messages, and `known` are the values that it may use.
    ///
    /// # Errors
    /// [`Error::Parse`] where it is no template, and naming a variable that it uses and is not known.
    pub fn new(name: &str, source: &str, known: &[&str]) -> Result<Self> {
        let refuse = |line: Option<usize>, reason: String| Error::Parse {
            origin: name.to_owned(),
            line: line.and_then(|line| u64::try_from(line).ok()),
            reason,
        };
        if source.len() > MAX_SOURCE {
            let reason = format!("{} bytes; a template has at most {MAX_SOURCE}", source.len());
            return Err(refuse(None, reason));
        }
        let made = panics::catch(|| {
            let mut environment = environment();
            environment.set_undefined_behavior(UndefinedBehavior::Strict);
            environment.add_template_owned(ONLY, source.to_owned())?;
            let used = environment.get_template(ONLY)?.undeclared_variables(false);
            Ok::<_, minijinja::Error>((environment, used))
        });
        let (environment, used) = match made {
            Ok(Ok(made)) => made,
            Ok(Err(e)) => {
                let reason = e.detail().map_or_else(|| e.kind().to_string(), str::to_owned);
                return Err(refuse(e.line(), format!("expected a Jinja template: {reason}")));
            }
            Err(_) => return Err(refuse(None, "the template is malformed".to_owned())),
        };
        let functions = ["raise_exception", "strftime_now", "range", "dict", "namespace", "debug"];
        let mut unknown: Vec<&String> = used
            .iter()
            .filter(|name| !known.contains(&name.as_str()) && !functions.contains(&name.as_str()))
            .collect();
        unknown.sort_unstable();
        if let Some(first) = unknown.first() {
            let reason =
                format!("it uses {first:?}, which is not there; there are {}", known.join(", "));
            return Err(refuse(None, reason));
        }
        Ok(Self { name: name.to_owned(), environment })
    }

    /// The text of these values, without white space at its ends.
    ///
    /// # Errors
    /// [`Error::Parse`] where the template fails or does not end.
    pub fn render(&self, values: &impl Serialize) -> Result<String> {
        let refuse = |line: Option<usize>, reason: String| Error::Parse {
            origin: self.name.clone(),
            line: line.and_then(|line| u64::try_from(line).ok()),
            reason,
        };
        let rendered = panics::catch(|| {
            let mut environment = self.environment.clone();
            environment.set_fuel(Some(STEPS));
            let mut written = super::Capped(Vec::new());
            environment
                .get_template(ONLY)?
                .render_captured_to(Value::from_serialize(values), &mut written)?;
            Ok::<_, minijinja::Error>(written.0)
        });
        match rendered {
            Ok(Ok(bytes)) => Ok(String::from_utf8_lossy(&bytes).trim().to_owned()),
            Ok(Err(e)) => Err(refuse(
                e.line(),
                match e.kind() {
                    ErrorKind::OutOfFuel => "the template does not come to an end".to_owned(),
                    ErrorKind::WriteFailure => {
                        format!("the template writes more than {MAX_OUTPUT} bytes")
                    }
                    kind => format!(
                        "the template fails: {kind} ({})",
                        e.detail().unwrap_or("no reason given")
                    ),
                },
            )),
            Err(_) => Err(refuse(None, "the template gives up".to_owned())),
        }
    }
}

impl std::fmt::Debug for TextTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TextTemplate").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn values_stand_in_their_places_and_unknown_ones_are_named() {
        let values = BTreeMap::from([("question", "{{ 1 }} <b>"), ("context", "")]);
        let template = |source: &str| TextTemplate::new("t", source, &["question", "context"]);
        let made = template("{% if context %}no{% endif %} Q: {{ question }}\n").unwrap();
        assert_eq!(made.render(&values).unwrap(), "Q: {{ 1 }} <b>");
        let said = |source: &str| template(source).unwrap_err().to_string();
        assert!(said("{{ questoin }}").contains("it uses \"questoin\""));
        assert!(said("a\n{% if %}").contains("t:2: expected a Jinja template"));
        let endless = template(
            "{% for i in range(10000) %}{% for j in range(10000) %}x{% endfor %}{% endfor %}",
        );
        assert!(endless.unwrap().render(&values).unwrap_err().to_string().contains("end"));
        let raising = template("{{ raise_exception('no ' ~ question) }}").unwrap();
        assert!(raising.render(&values).unwrap_err().to_string().contains("no {{ 1 }}"));
    }
}
