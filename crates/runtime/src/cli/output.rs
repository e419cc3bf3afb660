//! Prints: tables for people, JSON for programs.

use std::io::{self, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use statehouse_contracts::{ContentType, Error, PageCursor, Result};
use statehouse_wire::PageDoc;

/// Where a command prints.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    json: bool,
}

impl Output {
    /// JSON, or tables.
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether programs read it.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Prints `document` as JSON, or `lines` for people.
    ///
    /// # Errors
    /// When standard output is closed.
    pub fn show(&self, document: &impl Serialize, lines: impl FnOnce() -> String) -> Result<()> {
        if self.json {
            self.document(document)
        } else {
            self.text(&lines())
        }
    }

    /// Prints one JSON document, on one line.
    ///
    /// # Errors
    /// When standard output is closed.
    pub fn document(&self, document: &impl Serialize) -> Result<()> {
        let line = serde_json::to_string(document).map_err(|error| {
            Error::internal("the answer cannot be written as JSON").with_source(error)
        })?;
        self.text(&line)
    }

    /// Prints a page: its table and how to get the next, or a document.
    ///
    /// # Errors
    /// When standard output is closed.
    pub fn page<T: Serialize>(
        &self,
        items: impl FnOnce() -> Vec<T>,
        next: Option<PageCursor>,
        table: impl FnOnce() -> String,
    ) -> Result<()> {
        if self.json {
            let next = next.map(|next| next.0);
            return self.document(&PageDoc {
                items: items(),
                next,
            });
        }
        self.text(&table())?;
        match next {
            Some(next) => self.text(&format!("more: --after {}", next.0)),
            None => Ok(()),
        }
    }

    /// Says what was done: a line for people, or a document `{"done": line}`.
    ///
    /// # Errors
    /// When standard output is closed.
    pub fn done(&self, line: &str) -> Result<()> {
        self.show(&serde_json::json!({ "done": line }), || line.to_owned())
    }

    /// Prints one or more lines.
    ///
    /// # Errors
    /// When standard output is closed.
    pub fn text(&self, lines: &str) -> Result<()> {
        let mut out = io::stdout().lock();
        let end = if lines.is_empty() || lines.ends_with('\n') {
            ""
        } else {
            "\n"
        };
        write!(out, "{lines}{end}")
            .and_then(|()| out.flush())
            .map_err(closed)
    }

    /// Prints bytes as they are.
    ///
    /// # Errors
    /// When standard output is closed.
    pub fn raw(&self, bytes: &[u8]) -> Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(bytes)
            .and_then(|()| out.flush())
            .map_err(closed)
    }
}

fn closed(error: io::Error) -> Error {
    Error::closed().with_context("standard output", error)
}

/// A table with a header line; a line `none` when it has no rows.
pub(super) fn table<const N: usize>(header: [&str; N], rows: Vec<[String; N]>) -> String {
    if rows.is_empty() {
        return "none".to_owned();
    }
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.map(str::to_uppercase));
    for row in rows {
        table.add_row(row);
    }
    table.trim_fmt()
}

/// Content on one line of at most `width` characters, for people.
pub(super) fn preview(bytes: &[u8], content_type: &ContentType, width: usize) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => {
            let line: String = text
                .chars()
                .map(|c| if c.is_control() { ' ' } else { c })
                .collect();
            if line.chars().count() <= width {
                return line;
            }
            let start: String = line.chars().take(width.saturating_sub(1)).collect();
            format!("{start}…")
        }
        _ => format!("({} bytes of {content_type})", bytes.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preview_is_one_short_line() {
        let text = ContentType::TEXT;
        assert_eq!(preview(b"a\nb", &text, 10), "a b");
        assert_eq!(preview("ünïcödé".as_bytes(), &text, 4), "ünï…");
        assert_eq!(
            preview(b"\xff\xff", &ContentType::BYTES, 9),
            "(2 bytes of application/octet-stream)"
        );
    }

    #[test]
    fn an_empty_table_says_none() {
        assert_eq!(table(["a"], Vec::new()), "none");
        assert_eq!(
            table(["a", "b"], vec![["1".into(), "2".into()]]),
            " A  B\n 1  2"
        );
    }
}
