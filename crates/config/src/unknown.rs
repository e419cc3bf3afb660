//! Which keys are known, and the nearest known one to a wrong one.

use std::borrow::Cow;

use super::schema::Key;

/// The list entries that are tables: written `[[server.tokens]]`.
pub(super) const LISTS: [&str; 1] = ["server.tokens"];

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A key with a value.
    Key,
    /// A table that holds keys.
    Section,
    /// A list of tables.
    List,
    /// Nothing known.
    Unknown,
}

/// What `path` names among `keys`. Segments of digits stand for list indices.
pub(super) fn place(keys: &[&Key], path: &str) -> Place {
    let general = generalised(path);
    if path.contains('*') {
        Place::Unknown
    } else if LISTS.contains(&general.as_ref()) {
        Place::List
    } else if keys.iter().any(|key| key.path == general) {
        Place::Key
    } else if keys.iter().any(|key| is_below(key.path, &general)) {
        Place::Section
    } else {
        Place::Unknown
    }
}

fn is_below(key: &str, section: &str) -> bool {
    key.strip_prefix(section)
        .is_some_and(|rest| rest.starts_with('.'))
}

fn generalised(path: &str) -> Cow<'_, str> {
    let is_index = |segment: &&str| segment.parse::<u32>().is_ok();
    if !path.split('.').any(|segment| is_index(&segment)) {
        return Cow::Borrowed(path);
    }
    let segments: Vec<&str> = path
        .split('.')
        .map(|segment| if is_index(&segment) { "*" } else { segment })
        .collect();
    Cow::Owned(segments.join("."))
}

/// The sentence about an unknown key: it names the nearest known one.
pub(super) fn unknown(keys: &[&Key], path: &str, write: impl Fn(&str) -> String) -> String {
    let general = generalised(path);
    let all = keys.iter().map(|key| key.path);
    let nearest = match general.contains('.') {
        true => all.min_by_key(|key| distance(&general, key)),
        // A section, or a key written without its own.
        false => sections(keys)
            .into_iter()
            .chain(all)
            .min_by_key(|candidate| distance_of_word(&general, candidate)),
    };
    match nearest {
        Some(nearest) => {
            let nearest = write(&nearest.replace('*', "0"));
            format!("unknown key; the nearest known one is {nearest}")
        }
        None => "unknown key".to_owned(),
    }
}

/// The names of the first level.
fn sections<'a>(keys: &[&'a Key]) -> Vec<&'a str> {
    let mut names: Vec<&str> = keys
        .iter()
        .filter_map(|key| key.path.split('.').next())
        .collect();
    names.dedup();
    names
}

/// How far `path` is from `candidate`: in edits of the whole, or of the last word when the right
/// word stands in the wrong section.
fn distance(path: &str, candidate: &str) -> usize {
    let whole = strsim::damerau_levenshtein(path, candidate);
    let word = strsim::damerau_levenshtein(last(path), last(candidate));
    whole.min(word * 2 + 3)
}

/// The same for a path of one word; it may be the last word of a candidate.
fn distance_of_word(word: &str, candidate: &str) -> usize {
    let whole = strsim::damerau_levenshtein(word, candidate);
    whole.min(strsim::damerau_levenshtein(word, last(candidate)) + 1)
}

fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys;

    #[test]
    fn places() {
        let table = [
            ("server.listen", Place::Key),
            ("server", Place::Section),
            ("backends.trio", Place::Section),
            ("backends.trio.main", Place::Key),
            ("server.tokens", Place::List),
            ("server.tokens.3", Place::Section),
            ("server.tokens.3.token_env", Place::Key),
            ("server.tokens.*.token_env", Place::Unknown),
            ("server.lis", Place::Unknown),
            ("", Place::Unknown),
        ];
        for (path, expected) in table {
            assert_eq!(place(&keys(), path), expected, "{path}");
        }
    }

    #[test]
    fn the_nearest_key() {
        let table = [
            ("server.lisen", "server.listen"),
            ("servr", "server"),
            ("lisen", "server.listen"),
            ("message", "backends.messages"),
            ("Server.Listen", "server.listen"),
            ("server.keep_finished", "tasks.keep_finished"),
            ("backends.message", "backends.messages"),
            ("server.tokens.2.token-file", "server.tokens.0.token_file"),
            ("backends.tri.main", "backends.trio.main"),
        ];
        for (path, nearest) in table {
            let text = unknown(&keys(), path, str::to_owned);
            assert!(text.ends_with(&format!(" {nearest}")), "{path}: {text}");
        }
    }
}
