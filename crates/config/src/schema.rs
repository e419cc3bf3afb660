//! The table of known keys, and the reader that turns layered raw values into typed sections.

use std::collections::{BTreeMap, BTreeSet};

use super::problem::{Origin, Problem};
use super::value::{Raw, Setting};

/// One known key. `*` in its path stands for the index of a list entry.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The dotted path: `server.listen`.
    pub path: &'static str,
    /// The default as it would be written; empty for none.
    pub default: &'static str,
    /// What it means, with its unit.
    pub about: &'static str,
    pub(super) expected: fn() -> String,
}

impl Key {
    /// What the value looks like: `a duration such as "30s"`.
    pub fn expected(&self) -> String {
        (self.expected)()
    }
}

/// A value and where it comes from.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) raw: Raw,
    pub(super) origin: Origin,
}

/// One line of `config show`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The dotted key.
    pub key: String,
    /// The value in force, secrets hidden.
    pub value: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// The value of each key that some source set, the strongest source last.
#[derive(Debug, Default)]
pub(super) struct Values {
    entries: BTreeMap<String, Entry>,
}

impl Values {
    /// Sets a known key, over what a weaker source set.
    pub(super) fn set(&mut self, path: String, raw: Raw, origin: Origin) {
        self.entries.insert(path, Entry { raw, origin });
    }

    /// What a source set it to, and where.
    pub(super) fn get(&self, path: &str) -> Option<(Raw, Origin)> {
        let entry = self.entries.get(path)?;
        Some((entry.raw.clone(), entry.origin.clone()))
    }

    /// Whether some source set it to something.
    pub(super) fn is_set(&self, path: &str) -> bool {
        let none = Raw::Word(String::new());
        self.entries
            .get(path)
            .is_some_and(|entry| entry.raw != none)
    }

    /// The indices used under a list such as `server.tokens`, in order.
    pub(super) fn indices(&self, list: &str) -> BTreeSet<u32> {
        self.entries
            .keys()
            .filter_map(|path| {
                path.strip_prefix(list)?
                    .strip_prefix('.')?
                    .split('.')
                    .next()
            })
            .filter_map(|index| index.parse().ok())
            .collect()
    }
}

/// Reads typed values, noting every problem and every value for `config show`.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    values: &'a Values,
    pub(super) problems: Vec<Problem>,
    pub(super) shown: Vec<Shown>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(values: &'a Values) -> Self {
        Self {
            values,
            problems: Vec::new(),
            shown: Vec::new(),
        }
    }

    /// The value of `path`, or `None` after noting a problem.
    pub(super) fn read<T: Setting>(&mut self, path: String, default: &str) -> Option<T> {
        let fallback = Entry {
            raw: Raw::Word(default.to_owned()),
            origin: Origin::Default,
        };
        let entry = self.values.entries.get(&path).unwrap_or(&fallback);
        match T::parse(&entry.raw) {
            Ok(value) => {
                self.shown.push(Shown {
                    key: path,
                    value: value.show(),
                    origin: entry.origin.clone(),
                });
                Some(value)
            }
            Err(text) => {
                self.problems.push(Problem::at(&entry.origin, &path, text));
                None
            }
        }
    }

    /// Reads each entry of the list at `list`.
    pub(super) fn read_list<T>(
        &mut self,
        list: &str,
        read: impl Fn(&mut Self, &str) -> Option<T>,
    ) -> Option<Vec<T>> {
        let indices = self.values.indices(list);
        let items: Vec<Option<T>> = indices
            .into_iter()
            .map(|index| read(self, &format!("{list}.{index}")))
            .collect();
        items.into_iter().collect()
    }
}

/// Declares a section once: its struct, its rows in the table of keys, and how it is read.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        $name:ident at $prefix:literal {
            $($(#[doc = $doc:literal])+ $field:ident: $type:ty = $default:literal,)+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug)]
        pub struct $name {
            $($(#[doc = $doc])+ pub $field: $type,)+
        }

        impl $name {
            pub(super) const KEYS: &'static [$crate::Key] = &[
                $($crate::Key {
                    path: concat!($prefix, ".", stringify!($field)),
                    default: $default,
                    about: concat!($($doc),+).trim_ascii(),
                    expected: <$type as $crate::value::Setting>::expected,
                },)+
            ];

            pub(super) fn read(
                reader: &mut $crate::schema::Reader<'_>,
                prefix: &str,
            ) -> Option<Self> {
                $(let $field = reader.read::<$type>(
                    format!("{prefix}.{}", stringify!($field)),
                    $default,
                );)+
                Some(Self { $($field: $field?,)+ })
            }
        }
    };
}
pub(super) use section;

/// An enum whose variants are written as fixed words.
macro_rules! choice {
    ($(#[doc = $about:literal])+ $name:ident { $($(#[doc = $doc:literal])+ $variant:ident = $word:literal,)+ }) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[doc = $doc])+ $variant,)+ }

        impl $name {
            /// The word that stands for it in a configuration.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl $crate::value::Setting for $name {
            fn expected() -> String {
                let words = [$($word),+].map(|word| format!("{word:?}"));
                format!("one of {}", words.join(", "))
            }

            fn read(raw: &$crate::value::Raw) -> Result<Self, String> {
                let word = <String as $crate::value::Setting>::read(raw)?;
                match word.as_str() {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(String::new()),
                }
            }

            fn show(&self) -> String {
                self.as_str().to_owned()
            }
        }
    };
}
pub(super) use choice;
