//! One relay at a time.

use std::time::{Duration, Instant};

use statehouse_contracts::{ErrorKind, LeaseToken};

use super::relay::{BRIEF, Relay, lease, message, only, sent};
use crate::case::case;
use crate::cases::shelf::{LONG, Shelf};
use crate::{Case, Context, Failure, Outcome, ensure, ensure_eq, eventually, expect_kind};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(while_one_owner_holds_it_no_other_gets_it),
        case!(of_racing_owners_one_gets_it),
        case!(the_same_owner_gets_a_new_token),
        case!(a_lease_tells_its_deadline),
        case!(an_ended_lease_is_lost),
        case!(after_its_end_another_owner_gets_it),
        case!(a_lease_that_was_taken_over_is_lost),
        case!(extending_keeps_the_token_and_moves_the_end),
        case!(a_released_lease_is_free_at_once),
        case!(releasing_a_lost_lease_frees_nothing),
        case!(a_lease_of_zero_is_refused),
        case!(a_token_that_was_never_given_is_refused),
        case!(a_lease_is_of_its_namespace_only),
    ]
}

/// Reading, settling and extending by the token must be `LeaseLost`.
async fn is_lost(shelf: &Shelf, token: &LeaseToken) -> Outcome {
    let state = &shelf.state;
    let read = state.outbox_read(token, 0, 0, Duration::ZERO).await;
    expect_kind(read, ErrorKind::LeaseLost)?;
    expect_kind(
        state.outbox_settle(token, Vec::new()).await,
        ErrorKind::LeaseLost,
    )?;
    expect_kind(state.outbox_extend(token, LONG).await, ErrorKind::LeaseLost).map(|_| ())
}

async fn works(shelf: &Shelf, token: &LeaseToken) -> Outcome {
    shelf.state.outbox_read(token, 0, 0, Duration::ZERO).await?;
    Ok(shelf.state.outbox_settle(token, Vec::new()).await?)
}

/// Waits until `owner` gets the lease.
async fn takes_over(shelf: &Shelf, owner: &str) -> Result<LeaseToken, Failure> {
    eventually(BRIEF + shelf.patience, "the end of a lease", || async {
        let lease = shelf.state.outbox_lease(owner, LONG).await?;
        Ok(lease.map(|lease| lease.token))
    })
    .await
}

async fn while_one_owner_holds_it_no_other_gets_it(cx: Context) -> Outcome {
    let (shelf, other) = (Shelf::new(&cx).await?, Shelf::new(&cx).await?);
    let held = lease(&shelf, "a", LONG).await?;
    for owner in ["b", "A", "a "] {
        let refused = other.state.outbox_lease(owner, LONG).await?;
        ensure_eq(refused, None, &format!("the lease of {owner:?}"))?;
    }
    works(&shelf, &held.token).await
}

async fn of_racing_owners_one_gets_it(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let racers: Vec<_> = (0..12)
        .map(|n| {
            let state = shelf.state.clone();
            tokio::spawn(async move { state.outbox_lease(&format!("owner {n}"), LONG).await })
        })
        .collect();
    let mut given = 0;
    for racer in racers {
        let lease = racer
            .await
            .map_err(|error| Failure::new(error.to_string()))??;
        given += usize::from(lease.is_some());
    }
    ensure_eq(given, 1, "how many got it")
}

async fn the_same_owner_gets_a_new_token(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let old = lease(&shelf, "a", LONG).await?.token;
    let new = lease(&shelf, "a", LONG).await?.token;
    ensure(old != new, "the token is a new one")?;
    is_lost(&shelf, &old).await?;
    works(&shelf, &new).await
}

async fn a_lease_tells_its_deadline(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let before = Instant::now();
    let held = lease(&shelf, "a", LONG).await?;
    ensure(
        held.deadline >= before + LONG,
        "the deadline counts from the request",
    )?;
    ensure(
        held.deadline <= Instant::now() + LONG,
        "the deadline is no later than the lease",
    )
}

async fn an_ended_lease_is_lost(cx: Context) -> Outcome {
    let relay = Relay::with(&cx, [message("a")]).await?;
    let entries = relay.read(0).await?;
    let brief = lease(&relay.shelf, "relay", BRIEF).await?;
    // sleep: the lease must run out
    tokio::time::sleep(BRIEF + Duration::from_millis(50)).await;
    is_lost(&relay.shelf, &brief.token).await?;
    let settle = relay
        .shelf
        .state
        .outbox_settle(&brief.token, vec![sent(&entries[0])])
        .await;
    expect_kind(settle, ErrorKind::LeaseLost)?;
    relay.depth_is(1).await
}

async fn after_its_end_another_owner_gets_it(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    lease(&shelf, "a", BRIEF).await?;
    let token = takes_over(&shelf, "b").await?;
    works(&shelf, &token).await
}

async fn a_lease_that_was_taken_over_is_lost(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    shelf.state.apply(only([message("a")])).await?;
    let old = lease(&shelf, "a", BRIEF).await?.token;
    let token = takes_over(&shelf, "b").await?;
    is_lost(&shelf, &old).await?;
    let entries = shelf
        .state
        .outbox_read(&token, 0, 0, Duration::ZERO)
        .await?;
    let settle = shelf
        .state
        .outbox_settle(&old, vec![sent(&entries[0])])
        .await;
    expect_kind(settle, ErrorKind::LeaseLost)?;
    ensure_eq(
        shelf.state.outbox_depth().await?,
        1,
        "the depth of the outbox",
    )
}

async fn extending_keeps_the_token_and_moves_the_end(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let held = lease(&shelf, "a", Duration::from_secs(2)).await?;
    let extended = shelf.state.outbox_extend(&held.token, LONG).await?;
    ensure_eq(&extended.token, &held.token, "the token")?;
    ensure(extended.deadline > held.deadline, "the deadline moves")?;
    works(&shelf, &held.token).await?;
    let shorter = shelf.state.outbox_extend(&held.token, BRIEF).await?;
    ensure(
        shorter.deadline < extended.deadline,
        "an extension may be shorter",
    )?;
    takes_over(&shelf, "b").await?;
    is_lost(&shelf, &held.token).await
}

async fn a_released_lease_is_free_at_once(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let held = lease(&shelf, "a", LONG).await?.token;
    shelf.state.outbox_release(&held).await?;
    is_lost(&shelf, &held).await?;
    let other = lease(&shelf, "b", LONG).await?.token;
    works(&shelf, &other).await
}

async fn releasing_a_lost_lease_frees_nothing(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let old = lease(&shelf, "a", BRIEF).await?.token;
    let new = takes_over(&shelf, "b").await?;
    shelf.state.outbox_release(&old).await?;
    works(&shelf, &new).await?;
    ensure_eq(
        shelf.state.outbox_lease("c", LONG).await?,
        None,
        "the lease of a third",
    )
}

async fn a_lease_of_zero_is_refused(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let given = shelf.state.outbox_lease("a", Duration::ZERO).await;
    expect_kind(given, ErrorKind::InvalidArgument).map(|_| ())
}

async fn a_token_that_was_never_given_is_refused(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    lease(&shelf, "a", LONG).await?;
    let token = LeaseToken::new("nonsense")?;
    let read = shelf.state.outbox_read(&token, 0, 0, Duration::ZERO).await;
    match read.map_err(|error| error.kind()) {
        Err(ErrorKind::LeaseLost | ErrorKind::InvalidArgument) => Ok(()),
        other => crate::fail(format!(
            "a token that was never given must be refused: {other:?}"
        )),
    }
}

async fn a_lease_is_of_its_namespace_only(cx: Context) -> Outcome {
    let shelf = Shelf::new(&cx).await?;
    let there = Shelf::on(&cx, &*cx.backend().await?, &cx.other_scope()?).await?;
    lease(&shelf, "a", LONG).await?;
    let other = lease(&there, "b", LONG).await?;
    works(&there, &other.token).await
}
