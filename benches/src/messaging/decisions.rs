//! By value or by reference: what a decision takes.

use std::{hint::black_box, time::Instant};

use serde_json::json;
use statehouse_contracts::Kind;
use statehouse_messaging::PolicyManager;

use super::Timed;
use crate::{Result, VALUE};

/// Deciding on 1 KiB, of a kind or of none.
///
/// # Errors
/// When `kind` is no kind.
pub fn place_bytes(kind: Option<&str>) -> Result<Timed> {
    let policies = PolicyManager::default();
    let kind = kind.map(Kind::new).transpose()?;
    Ok(Box::new(move |times| {
        let start = Instant::now();
        for _ in 0..times {
            black_box(policies.place(black_box(kind.as_ref()), black_box(VALUE)));
        }
        Ok(start.elapsed())
    }))
}

/// Deciding on a JSON value of so many KiB.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn place_json(kib: usize) -> Result<Timed> {
    let policies = PolicyManager::default();
    let value = json!({ "lines": vec!["x".repeat(61); kib * 1024 / 64] });
    Ok(Box::new(move |times| {
        let start = Instant::now();
        for _ in 0..times {
            black_box(policies.place_json(None, black_box(&value))?);
        }
        Ok(start.elapsed())
    }))
}
