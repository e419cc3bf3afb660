//! Lua scripts: embedded at build time, called by their digest.

use std::sync::OnceLock;

use fred::bytes_utils::Str;

const PLAIN: &str = include_str!("lua/plain.lua");
const CHECK: &str = include_str!("lua/check.lua");
const COMMON: &str = include_str!("lua/common.lua");

/// A script made of files that follow one another, after the common ones. Every key it touches is
/// among the `KEYS` it is called with: Dragonfly and clusters refuse any other.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) name: &'static str,
    /// Whether a lost answer leaves it open what the script did.
    pub(crate) mutates: bool,
    parts: &'static [&'static str],
    plain: OnceLock<Form>,
    checked: OnceLock<Form>,
}

/// A script as the server gets it.
#[derive(Debug)]
pub(crate) struct Form {
    pub(crate) text: Str,
    /// SHA-1 of the text in hex, by which the server knows it.
    pub(crate) digest: Str,
}

impl Script {
    /// A script that may write.
    pub(crate) const fn writing(name: &'static str, parts: &'static [&'static str]) -> Self {
        Self::new(name, true, parts)
    }

    /// A script that only reads.
    pub(crate) const fn reading(name: &'static str, parts: &'static [&'static str]) -> Self {
        Self::new(name, false, parts)
    }

    const fn new(name: &'static str, mutates: bool, parts: &'static [&'static str]) -> Self {
        Self {
            name,
            mutates,
            parts,
            plain: OnceLock::new(),
            checked: OnceLock::new(),
        }
    }

    /// The script with or without the check of its keys.
    pub(crate) fn form(&self, check_keys: bool) -> &Form {
        let (form, calls) = if check_keys {
            (&self.checked, CHECK)
        } else {
            (&self.plain, PLAIN)
        };
        form.get_or_init(|| {
            let mut text = [calls, COMMON].concat();
            self.parts.iter().for_each(|part| text.push_str(part));
            Form {
                digest: fred::util::sha1_hash(&text).into(),
                text: text.into(),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_its_parts_after_the_common_ones() {
        static SCRIPT: Script = Script::reading("two", &["local a = 1\n", "return a\n"]);
        let plain = SCRIPT.form(false);
        assert!(plain.text.starts_with(PLAIN));
        assert!(plain.text.ends_with("local a = 1\nreturn a\n"));
        assert_eq!(plain.digest.len(), 40);
        assert_ne!(SCRIPT.form(true).digest, plain.digest);
        assert!(!SCRIPT.mutates);
    }
}
