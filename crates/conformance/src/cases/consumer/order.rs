//! In which order messages without an ordering key come.

use statehouse_contracts::{Backoff, Message, Receive};

use crate::case::case;
use crate::cases::desk::{Desk, said, text, urgent};
use crate::{Case, Context, Outcome, ensure_eq};

pub(crate) fn cases() -> Vec<Case> {
    let strict = |case: Case| case.consumer(|c| c.strict_priorities && c.priorities > 1);
    vec![
        case!(messages_of_one_priority_come_in_the_order_sent),
        case!(one_receive_hands_them_out_in_the_order_sent),
        strict(case!(the_higher_priority_comes_first)),
        strict(case!(inside_a_priority_they_come_in_the_order_sent)),
        strict(case!(all_ten_priorities_are_told_apart)).consumer(|c| c.priorities >= 10),
        case!(without_priorities_all_are_equal)
            .consumer(|c| c.priorities <= 1 || c.equal_priorities),
        case!(a_redelivered_message_takes_its_old_place),
        case!(a_message_that_waits_holds_up_no_other),
        case!(a_message_that_waited_takes_its_old_place)
            .consumer(|c| c.nack_delay && c.admin.counts),
    ]
}

async fn messages_of_one_priority_come_in_the_order_sent(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send_all(["a", "b", "c"].map(text)).await?;
    desk.all_say(&["a", "b", "c"]).await
}

async fn one_receive_hands_them_out_in_the_order_sent(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send_all(["a", "b", "c"].map(text)).await?;
    let mut got = Vec::new();
    while got.len() < 3 {
        let max = 3 - got.len();
        let batch = desk
            .consumer
            .receive(&desk.group, Receive::new(max, desk.timing.patience))
            .await?;
        if batch.is_empty() {
            break;
        }
        got.extend(batch.iter().map(said));
    }
    ensure_eq(got, ["a", "b", "c"], "what came, in order")
}

/// Sends messages, and waits until all are ready: only those are compared by priority, and what was
/// accepted may take a moment.
async fn make_ready<const N: usize>(desk: &Desk, messages: [Message; N]) -> Outcome {
    desk.send_all(messages).await?;
    match desk.consumer.capability().admin.counts {
        true => desk.until_ready(N as u64, desk.timing.patience).await,
        false => Ok(()),
    }
}

async fn the_higher_priority_comes_first(cx: Context) -> Outcome {
    let desk = Desk::by_priority(&cx).await?;
    make_ready(&desk, [urgent(0, "low"), urgent(9, "high")]).await?;
    desk.all_say(&["high", "low"]).await
}

async fn inside_a_priority_they_come_in_the_order_sent(cx: Context) -> Outcome {
    let desk = Desk::by_priority(&cx).await?;
    let sent = [(0, "a"), (9, "b"), (0, "c"), (9, "d"), (9, "e")];
    make_ready(&desk, sent.map(|(level, text)| urgent(level, text))).await?;
    desk.all_say(&["b", "d", "e", "a", "c"]).await
}

async fn all_ten_priorities_are_told_apart(cx: Context) -> Outcome {
    let desk = Desk::by_priority(&cx).await?;
    let levels = [3, 0, 7, 9, 1, 5, 8, 2, 6, 4];
    let sent = levels.map(|level| urgent(level, &level.to_string()));
    make_ready(&desk, sent).await?;
    desk.all_say(&["9", "8", "7", "6", "5", "4", "3", "2", "1", "0"])
        .await
}

async fn without_priorities_all_are_equal(cx: Context) -> Outcome {
    let desk = Desk::with(&cx, |spec| spec.priorities = false).await?;
    desk.send_all([urgent(0, "a"), urgent(9, "b"), urgent(4, "c")])
        .await?;
    desk.all_say(&["a", "b", "c"]).await
}

async fn a_redelivered_message_takes_its_old_place(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send_all(["a", "b", "c"].map(text)).await?;
    let first = desk.next_says("a").await?;
    desk.nack(&first, "once more").await?;
    desk.all_say(&["a", "b", "c"]).await
}

async fn a_message_that_waits_holds_up_no_other(cx: Context) -> Outcome {
    let wait = Backoff::fixed(std::time::Duration::from_secs(600));
    let desk = Desk::with(&cx, |spec| spec.backoff = wait).await?;
    desk.send_all(["a", "b"].map(text)).await?;
    let first = desk.next_says("a").await?;
    desk.nack(&first, "not now").await?;
    desk.all_say(&["b"]).await?;
    desk.stays_empty().await
}

async fn a_message_that_waited_takes_its_old_place(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send_all(["a", "b"].map(text)).await?;
    let first = desk.next_says("a").await?;
    desk.nack_after(&first, desk.timing.delay).await?;
    desk.until_ready(2, desk.timing.delay + desk.timing.late)
        .await?;
    desk.all_say(&["a", "b"]).await
}
