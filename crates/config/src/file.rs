//! The TOML file.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Origin, Problem};
use super::schema::{Key, Values};
use super::unknown::{Place, place, unknown};
use super::value::Raw;

/// A configuration larger than this is some other file.
const LARGEST: u64 = 1 << 20;

/// Reads the text of `path`.
pub(super) fn read(path: &Path) -> Result<String, Problem> {
    let shown = path.display();
    let wrong = |text: String| Problem::general(text);
    let found = fs::metadata(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => wrong(format!("the config file {shown} does not exist")),
        _ => wrong(format!("the config file {shown} cannot be read: {error}")),
    })?;
    if found.is_dir() {
        return Err(wrong(format!("{shown} is a directory; name a TOML file")));
    }
    if found.len() > LARGEST {
        return Err(wrong(format!(
            "{shown} has {} bytes; a config file has at most {LARGEST}",
            found.len()
        )));
    }
    let bytes = fs::read(path)
        .map_err(|error| wrong(format!("the config file {shown} cannot be read: {error}")))?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        wrong(format!(
            "{shown} is not UTF-8 text: byte {at} is wrong; save it as UTF-8"
        ))
    })
}

/// Takes every known key of `text` into `values`, and notes what is wrong.
pub(super) fn take(
    path: &Path,
    text: &str,
    keys: &[&Key],
    values: &mut Values,
    problems: &mut Vec<Problem>,
) {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut walk = Walk {
        path,
        text,
        keys,
        values,
        problems,
    };
    for error in &errors {
        let start = error.span().map_or(0, |span| span.start);
        let origin = walk.origin(start);
        walk.problems.push(Problem {
            origin: Some(origin),
            key: None,
            text: format!("not valid TOML: {}", error.message()),
        });
    }
    if errors.is_empty() {
        walk.table("", table.get_ref());
    }
}

struct Walk<'a> {
    path: &'a Path,
    text: &'a str,
    keys: &'a [&'a Key],
    values: &'a mut Values,
    problems: &'a mut Vec<Problem>,
}

impl Walk<'_> {
    fn table(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let start = name.span().start;
            let name = name.get_ref().as_ref();
            let path = match prefix {
                "" => name.to_owned(),
                _ => format!("{prefix}.{name}"),
            };
            // A quoted key with a dot in it is not the same as a dotted key.
            let place = if name.contains('.') {
                Place::Unknown
            } else {
                place(self.keys, &path)
            };
            self.entry(path, place, start, value);
        }
    }

    fn entry(&mut self, path: String, place: Place, start: usize, value: &Spanned<DeValue<'_>>) {
        let origin = self.origin(start);
        match (place, value.get_ref()) {
            (Place::Key, value) => self.values.set(path, raw(value), origin),
            (Place::Section, DeValue::Table(table)) => self.table(&path, table),
            (Place::List, DeValue::Array(items)) => self.list(&path, items),
            (Place::Section, other) => {
                let text = format!("expected a table, [{path}], found {}", kind(other));
                self.problems.push(Problem::at(&origin, &path, text));
            }
            (Place::List, other) => {
                let text = format!("expected tables, [[{path}]], found {}", kind(other));
                self.problems.push(Problem::at(&origin, &path, text));
            }
            (Place::Unknown, _) => {
                let text = unknown(self.keys, &path, str::to_owned);
                self.problems.push(Problem::at(&origin, &path, text));
            }
        }
    }

    fn list<'i>(&mut self, path: &str, items: impl IntoIterator<Item = &'i Spanned<DeValue<'i>>>) {
        for (index, item) in items.into_iter().enumerate() {
            self.entry(
                format!("{path}.{index}"),
                Place::Section,
                item.span().start,
                item,
            );
        }
    }

    fn origin(&self, start: usize) -> Origin {
        let before = self.text.as_bytes().get(..start).unwrap_or_default();
        Origin::File {
            path: self.path.to_owned(),
            line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
        }
    }
}

fn raw(value: &DeValue<'_>) -> Raw {
    match value {
        DeValue::String(text) => Raw::Text(text.as_ref().to_owned()),
        DeValue::Integer(number) => {
            Raw::Integer(i64::from_str_radix(number.as_str(), number.radix()).ok())
        }
        DeValue::Boolean(value) => Raw::Bool(*value),
        DeValue::Array(items) => Raw::List(items.iter().map(|item| raw(item.get_ref())).collect()),
        other => Raw::Other(kind(other)),
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "a bool",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
