//! In which order messages come.

use crate::case::case;
use crate::cases::desk::{Desk, keyed, text};
use crate::{Case, Context, Outcome, ensure_eq};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(messages_of_one_priority_come_in_the_order_sent),
        case!(a_retry_blocks_only_its_key).consumer(|c| c.ordering_keys && c.nack_delay),
    ]
}

async fn messages_of_one_priority_come_in_the_order_sent(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send_all(["a", "b", "c"].map(text)).await?;
    desk.all_say(&["a", "b", "c"]).await
}

async fn a_retry_blocks_only_its_key(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send_all([keyed("k", "k1"), keyed("k", "k2"), keyed("l", "l1")])
        .await?;
    let first = desk.next_says("k1").await?;
    desk.nack_after(&first, desk.timing.delay).await?;
    let other = desk.next_says("l1").await?;
    desk.ack(&other).await?;
    desk.is_empty().await?;
    let again = desk
        .next_within(desk.timing.delay + desk.timing.late)
        .await?;
    ensure_eq(again.attempt, 2, "the attempt after a retry")?;
    desk.ack(&again).await?;
    desk.all_say(&["k2"]).await
}
