//! The frames around several things.

use serde::{Deserialize, Serialize};
use statehouse_contracts::{Error, Page, PageCursor, Result};
use utoipa::ToSchema;

use crate::ErrorDocument;

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PageDoc<T> {
    /// The entries. A page may be empty and still have a next one.
    pub items: Vec<T>,
    /// Give it as `cursor` for the next page; `null` at the end.
    pub next: Option<String>,
}

impl<T> PageDoc<T> {
    /// The document of `page`.
    pub fn new<U: Into<T>>(page: Page<U>) -> Self {
        Self {
            items: page.items.into_iter().map(Into::into).collect(),
            next: page.next.map(|cursor| cursor.0),
        }
    }

    /// The page.
    ///
    /// # Errors
    /// Those of an item.
    pub fn page<U: TryFrom<T, Error = Error>>(self) -> Result<Page<U>> {
        let items: Result<Vec<U>> = self.items.into_iter().map(U::try_from).collect();
        Ok(Page {
            items: items?,
            next: self.next.map(PageCursor),
        })
    }
}

/// All of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ItemsDoc<T> {
    /// The entries.
    pub items: Vec<T>,
}

/// The answer to one item of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeDoc<T> {
    /// It was done.
    Ok(T),
    /// It was not.
    Error(Box<ErrorDocument>),
}

impl<T> OutcomeDoc<T> {
    /// The document of an answer.
    pub fn new<U: Into<T>>(answer: Result<U>) -> Self {
        match answer {
            Ok(value) => Self::Ok(value.into()),
            Err(error) => Self::Error(Box::new(ErrorDocument::from(&error))),
        }
    }

    /// The answer.
    ///
    /// # Errors
    /// The item's own.
    pub fn answer(self) -> Result<T> {
        match self {
            Self::Ok(value) => Ok(value),
            Self::Error(document) => Err(Error::from(*document)),
        }
    }
}

/// How many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CountDoc {
    /// The number.
    pub count: u64,
}

/// Whether something was there and is gone now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RemovedDoc {
    /// Whether it was there.
    pub removed: bool,
}
