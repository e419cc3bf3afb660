//! Followers: durable named cursors.

use std::time::Duration;

use statehouse_contracts::{
    Cursor, ErrorKind, Follower, FollowerName, FollowerSpec, FollowerStart, Trim,
};

use crate::case::case;
use crate::cases::shelf::{Shelf, put};
use crate::{Case, Context, Failure, Outcome, ensure, ensure_eq, expect_kind, some};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(a_follower_starts_where_its_spec_says),
        case!(a_follower_is_found_as_it_is),
        case!(a_follower_tells_its_lag),
        case!(advancing_moves_a_follower_on),
        case!(advancing_backwards_does_nothing),
        case!(advancing_an_unknown_follower_is_not_found),
        case!(advancing_to_a_cursor_of_another_namespace_is_refused),
        case!(followers_are_listed_by_name),
        case!(followers_are_of_their_namespace_only),
        case!(an_unfollowed_follower_is_gone),
        case!(a_follower_holds_back_trimming),
        case!(trimming_goes_on_when_a_follower_advances),
        case!(an_unfollowed_follower_holds_back_nothing),
        case!(a_follower_within_its_maximum_lag_holds_back_trimming),
        case!(a_follower_beyond_its_maximum_lag_is_lost),
        case!(a_lagging_follower_that_trimming_does_not_pass_is_kept),
        case!(a_lost_follower_starts_again),
        case!(a_follower_survives_a_restart)
            .reopens()
            .state(|c| c.durability.process_kill),
    ]
}

fn name(text: &str) -> FollowerName {
    FollowerName::new(text).unwrap_or_else(|error| panic!("follower {text:?} of a case: {error}"))
}

fn from(start: FollowerStart) -> FollowerSpec {
    FollowerSpec {
        start,
        max_lag: None,
    }
}

fn within(max_lag: u64) -> FollowerSpec {
    FollowerSpec {
        max_lag: Some(max_lag),
        ..FollowerSpec::default()
    }
}

async fn trim(shelf: &Shelf, keep_last: u64) -> Result<u64, Failure> {
    let trim = Trim {
        keep_last: Some(keep_last),
        max_age: None,
    };
    Ok(shelf.state.trim(trim).await?)
}

/// A shelf with ten changes, and the cursor after each.
async fn ten(cx: &Context) -> Result<(Shelf, Vec<Cursor>), Failure> {
    let shelf = Shelf::new(cx).await?;
    let oldest = shelf.state.oldest().await?;
    shelf
        .write_all((1..=10).map(|n| put("k", &n.to_string())))
        .await?;
    let changes = shelf.changes(&oldest, 0).await?;
    Ok((
        shelf,
        changes.into_iter().map(|change| change.cursor).collect(),
    ))
}

async fn follower(shelf: &Shelf, name: &str) -> Result<Follower, Failure> {
    let all = shelf.state.followers().await?;
    some(
        all.into_iter()
            .find(|follower| follower.name.as_str() == name),
        "such follower",
    )
}

async fn a_follower_starts_where_its_spec_says(cx: Context) -> Outcome {
    let (shelf, cursors) = ten(&cx).await?;
    let at = FollowerStart::At(cursors[3].clone());
    let table = [
        (FollowerStart::Oldest, 10),
        (FollowerStart::Head, 0),
        (at, 6),
    ];
    for (n, (start, lag)) in table.into_iter().enumerate() {
        let made = shelf
            .state
            .follow(&name(&format!("f{n}")), from(start))
            .await?;
        ensure_eq(
            (made.lag, made.lost),
            (lag, false),
            "lag and loss of a new follower",
        )?;
        ensure_eq(
            shelf.changes(&made.cursor, 0).await?.len() as u64,
            lag,
            "what it has to do",
        )?;
    }
    Ok(())
}

async fn a_follower_is_found_as_it_is(cx: Context) -> Outcome {
    let (shelf, cursors) = ten(&cx).await?;
    shelf
        .state
        .follow(&name("f"), FollowerSpec::default())
        .await?;
    shelf.state.advance(&name("f"), &cursors[4]).await?;
    for start in [FollowerStart::Oldest, FollowerStart::Head] {
        let found = shelf.state.follow(&name("f"), from(start)).await?;
        ensure_eq(
            (&found.cursor, found.lag),
            (&cursors[4], 5),
            "the follower found",
        )?;
    }
    Ok(())
}

async fn a_follower_tells_its_lag(cx: Context) -> Outcome {
    let (shelf, cursors) = ten(&cx).await?;
    shelf
        .state
        .follow(&name("f"), from(FollowerStart::Head))
        .await?;
    ensure_eq(
        &follower(&shelf, "f").await?.cursor,
        &cursors[9],
        "its cursor",
    )?;
    shelf
        .apply([put("a", ""), put("b", ""), put("c", "")])
        .await?;
    ensure_eq(follower(&shelf, "f").await?.lag, 3, "its lag in changes")
}

async fn advancing_moves_a_follower_on(cx: Context) -> Outcome {
    let (shelf, cursors) = ten(&cx).await?;
    let made = shelf
        .state
        .follow(&name("f"), FollowerSpec::default())
        .await?;
    // sleep: the clock must move on between the two times
    tokio::time::sleep(Duration::from_millis(2)).await;
    shelf.state.advance(&name("f"), &cursors[6]).await?;
    let now = follower(&shelf, "f").await?;
    ensure_eq((&now.cursor, now.lag), (&cursors[6], 3), "the follower")?;
    ensure(now.advanced_at > made.advanced_at, "advanced_at moves on")
}

async fn advancing_backwards_does_nothing(cx: Context) -> Outcome {
    let (shelf, cursors) = ten(&cx).await?;
    shelf
        .state
        .follow(&name("f"), FollowerSpec::default())
        .await?;
    for cursor in [&cursors[6], &cursors[2], &cursors[6]] {
        shelf.state.advance(&name("f"), cursor).await?;
        ensure_eq(
            &follower(&shelf, "f").await?.cursor,
            &cursors[6],
            "its cursor",
        )?;
    }
    Ok(())
}

async fn advancing_an_unknown_follower_is_not_found(cx: Context) -> Outcome {
    let (shelf, cursors) = ten(&cx).await?;
    let advanced = shelf.state.advance(&name("unknown"), &cursors[0]).await;
    expect_kind(advanced, ErrorKind::NotFound).map(|_| ())
}

async fn advancing_to_a_cursor_of_another_namespace_is_refused(cx: Context) -> Outcome {
    let (shelf, _) = ten(&cx).await?;
    let there = Shelf::on(&cx, &*cx.backend().await?, &cx.other_scope()?).await?;
    there.write(put("k", "a")).await?;
    let foreign = there.state.head().await?;
    shelf
        .state
        .follow(&name("f"), FollowerSpec::default())
        .await?;
    expect_kind(
        shelf.state.advance(&name("f"), &foreign).await,
        ErrorKind::CursorLost,
    )?;
    ensure_eq(follower(&shelf, "f").await?.lag, 10, "its lag")
}

async fn followers_are_listed_by_name(cx: Context) -> Outcome {
    let (shelf, _) = ten(&cx).await?;
    for text in ["b", "a", "C", "a.1"] {
        shelf
            .state
            .follow(&name(text), FollowerSpec::default())
            .await?;
    }
    let all = shelf.state.followers().await?;
    let names: Vec<&str> = all.iter().map(|follower| follower.name.as_str()).collect();
    ensure_eq(names, ["C", "a", "a.1", "b"], "the names")
}

async fn followers_are_of_their_namespace_only(cx: Context) -> Outcome {
    let (shelf, _) = ten(&cx).await?;
    let there = Shelf::on(&cx, &*cx.backend().await?, &cx.other_scope()?).await?;
    there
        .state
        .follow(&name("f"), FollowerSpec::default())
        .await?;
    ensure(
        shelf.state.followers().await?.is_empty(),
        "it is not seen from here",
    )?;
    ensure_eq(trim(&shelf, 1).await?, 9, "how many changes went")?;
    ensure_eq(
        shelf.state.unfollow(&name("f")).await?,
        false,
        "whether it was here",
    )
}

async fn an_unfollowed_follower_is_gone(cx: Context) -> Outcome {
    let (shelf, cursors) = ten(&cx).await?;
    shelf
        .state
        .follow(&name("f"), FollowerSpec::default())
        .await?;
    ensure_eq(
        shelf.state.unfollow(&name("f")).await?,
        true,
        "whether it was there",
    )?;
    ensure_eq(
        shelf.state.unfollow(&name("f")).await?,
        false,
        "whether it still was",
    )?;
    ensure(
        shelf.state.followers().await?.is_empty(),
        "it is not listed",
    )?;
    let advanced = shelf.state.advance(&name("f"), &cursors[0]).await;
    expect_kind(advanced, ErrorKind::NotFound).map(|_| ())
}

async fn a_follower_holds_back_trimming(cx: Context) -> Outcome {
    let (shelf, cursors) = ten(&cx).await?;
    shelf
        .state
        .follow(&name("slow"), FollowerSpec::default())
        .await?;
    shelf
        .state
        .follow(&name("fast"), from(FollowerStart::Head))
        .await?;
    shelf.state.advance(&name("slow"), &cursors[3]).await?;
    ensure_eq(trim(&shelf, 1).await?, 4, "how many changes went")?;
    ensure_eq(
        shelf.changes(&cursors[3], 0).await?.len(),
        6,
        "what the slow one has to do",
    )?;
    ensure(!follower(&shelf, "slow").await?.lost, "it is not lost")
}

async fn trimming_goes_on_when_a_follower_advances(cx: Context) -> Outcome {
    let (shelf, cursors) = ten(&cx).await?;
    shelf
        .state
        .follow(&name("f"), FollowerSpec::default())
        .await?;
    ensure_eq(trim(&shelf, 1).await?, 0, "how many changes went")?;
    shelf.state.advance(&name("f"), &cursors[9]).await?;
    ensure_eq(trim(&shelf, 1).await?, 9, "how many changes went then")
}

async fn an_unfollowed_follower_holds_back_nothing(cx: Context) -> Outcome {
    let (shelf, _) = ten(&cx).await?;
    shelf
        .state
        .follow(&name("f"), FollowerSpec::default())
        .await?;
    shelf.state.unfollow(&name("f")).await?;
    ensure_eq(trim(&shelf, 1).await?, 9, "how many changes went")
}

async fn a_follower_within_its_maximum_lag_holds_back_trimming(cx: Context) -> Outcome {
    let (shelf, cursors) = ten(&cx).await?;
    shelf.state.follow(&name("f"), within(4)).await?;
    shelf.state.advance(&name("f"), &cursors[5]).await?;
    ensure_eq(trim(&shelf, 1).await?, 6, "how many changes went")?;
    let now = follower(&shelf, "f").await?;
    ensure_eq((now.lag, now.lost), (4, false), "lag and loss")
}

async fn a_follower_beyond_its_maximum_lag_is_lost(cx: Context) -> Outcome {
    let (shelf, cursors) = ten(&cx).await?;
    shelf.state.follow(&name("f"), within(4)).await?;
    shelf.state.advance(&name("f"), &cursors[2]).await?;
    ensure_eq(trim(&shelf, 2).await?, 8, "how many changes went")?;
    ensure(follower(&shelf, "f").await?.lost, "it is marked lost")?;
    let advanced = shelf.state.advance(&name("f"), &cursors[9]).await;
    expect_kind(advanced, ErrorKind::CursorLost)?;
    ensure(follower(&shelf, "f").await?.lost, "it stays lost")
}

async fn a_lagging_follower_that_trimming_does_not_pass_is_kept(cx: Context) -> Outcome {
    let (shelf, cursors) = ten(&cx).await?;
    shelf.state.follow(&name("f"), within(2)).await?;
    shelf.state.advance(&name("f"), &cursors[4]).await?;
    ensure_eq(trim(&shelf, 5).await?, 5, "how many changes went")?;
    ensure(!follower(&shelf, "f").await?.lost, "it is not lost")?;
    Ok(shelf.state.advance(&name("f"), &cursors[9]).await?)
}

async fn a_lost_follower_starts_again(cx: Context) -> Outcome {
    let (shelf, _) = ten(&cx).await?;
    shelf.state.follow(&name("f"), within(4)).await?;
    trim(&shelf, 2).await?;
    let again = shelf.state.follow(&name("f"), within(4)).await?;
    ensure_eq(
        (again.lag, again.lost),
        (2, false),
        "lag and loss of the new start",
    )?;
    ensure(!follower(&shelf, "f").await?.lost, "it is no longer lost")?;
    Ok(shelf
        .state
        .advance(&name("f"), &shelf.state.head().await?)
        .await?)
}

async fn a_follower_survives_a_restart(cx: Context) -> Outcome {
    let instance = cx.fresh().await?;
    let shelf = Shelf::on(&cx, &**instance.backend(), cx.scope()).await?;
    shelf
        .write_all((1..=6).map(|n| put("k", &n.to_string())))
        .await?;
    shelf
        .state
        .follow(&name("f"), from(FollowerStart::Head))
        .await?;
    shelf
        .write_all((1..=4).map(|n| put("k", &n.to_string())))
        .await?;
    let before = follower(&shelf, "f").await?;
    let instance = instance.reopen().await?;
    let shelf = Shelf::on(&cx, &**instance.backend(), cx.scope()).await?;
    ensure_eq(
        follower(&shelf, "f").await?,
        before,
        "the follower after a restart",
    )?;
    ensure_eq(trim(&shelf, 1).await?, 6, "how many changes went")
}
