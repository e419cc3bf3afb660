//! What an adapter reports is what it is expected to report.

use std::fmt::Debug;

use statehouse_contracts::{ErrorKind, Result};

use crate::case::case;
use crate::{Case, Context, Outcome, ensure_eq, expect_kind};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(the_producer_is_as_expected),
        case!(the_consumer_is_as_expected),
        case!(the_state_manager_is_as_expected),
        case!(the_task_stack_is_as_expected),
        case!(the_reference_store_is_as_expected),
    ]
}

/// A role that is there reports what is expected; one that is not is unsupported.
fn compare<T: Debug, C: PartialEq + Debug>(
    handle: Result<T>,
    report: impl Fn(&T) -> C,
    expected: Option<C>,
) -> Outcome {
    match expected {
        None => expect_kind(handle, ErrorKind::Unsupported).map(|_| ()),
        Some(expected) => ensure_eq(report(&handle?), expected, "the reported capability"),
    }
}

async fn the_producer_is_as_expected(cx: Context) -> Outcome {
    let handle = cx.producer().await;
    compare(handle, |role| role.capability(), cx.expected().producer)
}

async fn the_consumer_is_as_expected(cx: Context) -> Outcome {
    let handle = cx.consumer().await;
    compare(handle, |role| role.capability(), cx.expected().consumer)
}

async fn the_state_manager_is_as_expected(cx: Context) -> Outcome {
    let handle = cx.state().await;
    compare(handle, |role| role.capability(), cx.expected().state)
}

async fn the_task_stack_is_as_expected(cx: Context) -> Outcome {
    let handle = cx.tasks().await;
    compare(handle, |role| role.capability(), cx.expected().tasks)
}

async fn the_reference_store_is_as_expected(cx: Context) -> Outcome {
    let handle = cx.references().await;
    compare(handle, |role| role.capability(), cx.expected().references)
}
