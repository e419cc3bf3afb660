//! Many producers and consumers at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use futures::future::join_all;
use statehouse_contracts::{Receive, SendOptions};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use crate::case::case;
use crate::cases::desk::{Desk, said, text};
use crate::{Case, Context, Failure, Outcome, ensure_eq};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(each_message_reaches_one_member_of_each_group),
        case!(with_many_producers_and_consumers_none_is_lost_or_doubled),
        case!(racing_receives_share_what_is_there),
        case!(a_message_that_fails_once_is_done_once),
    ]
}

/// How often each text came.
type Seen = Arc<Mutex<BTreeMap<String, usize>>>;

/// A member that receives and acknowledges until `total` messages have come to its group, or none
/// comes any more.
fn member(desk: Desk, seen: Seen, total: usize) -> JoinHandle<Outcome> {
    tokio::spawn(async move {
        let mut last = Instant::now();
        while seen.lock().await.values().sum::<usize>() < total
            && last.elapsed() < desk.timing.patience
        {
            let receive = Receive::new(7, desk.timing.quiet);
            for delivery in desk.consumer.receive(&desk.group, receive).await? {
                last = Instant::now();
                *seen.lock().await.entry(said(&delivery)).or_default() += 1;
                desk.ack(&delivery).await?;
            }
        }
        Ok(())
    })
}

async fn all_done(tasks: impl IntoIterator<Item = JoinHandle<Outcome>>) -> Outcome {
    for task in join_all(tasks).await {
        task.map_err(|error| Failure::new(error.to_string()))??;
    }
    Ok(())
}

async fn each_came_once(seen: &Seen, total: usize) -> Outcome {
    let seen = seen.lock().await;
    let doubled: Vec<_> = seen.iter().filter(|(_, times)| **times != 1).collect();
    ensure_eq(doubled, Vec::new(), "what came more than once")?;
    ensure_eq(seen.len(), total, "how many messages came")
}

async fn each_message_reaches_one_member_of_each_group(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let other = desk.of("other");
    other.declare(|_| {}).await?;
    let (ours, theirs) = (Seen::default(), Seen::default());
    let members: Vec<_> = [
        (&desk, &ours),
        (&desk, &ours),
        (&other, &theirs),
        (&other, &theirs),
    ]
    .map(|(desk, seen)| member(desk.clone(), seen.clone(), 30))
    .into();
    desk.send_all((0..30).map(|n| text(&n.to_string()))).await?;
    all_done(members).await?;
    each_came_once(&ours, 30).await?;
    each_came_once(&theirs, 30).await
}

const PRODUCERS: usize = 4;
const OF_EACH: usize = 60;

async fn with_many_producers_and_consumers_none_is_lost_or_doubled(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    let seen = Seen::default();
    let total = PRODUCERS * OF_EACH;
    let members: Vec<_> = (0..4)
        .map(|_| member(desk.clone(), seen.clone(), total))
        .collect();
    let producers: Vec<_> = (0..PRODUCERS)
        .map(|producer| {
            let desk = desk.clone();
            tokio::spawn(async move {
                for from in (0..OF_EACH).step_by(10) {
                    let batch = (from..from + 10).map(|n| text(&format!("{producer}/{n}")));
                    let sent = desk
                        .producer
                        .send(batch.collect(), SendOptions::default())
                        .await?;
                    sent.into_iter().collect::<Result<Vec<_>, _>>()?;
                }
                Ok(())
            })
        })
        .collect();
    all_done(producers).await?;
    all_done(members).await?;
    each_came_once(&seen, total).await?;
    desk.stays_empty().await
}

async fn racing_receives_share_what_is_there(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send_all((0..20).map(|n| text(&n.to_string()))).await?;
    let seen = Seen::default();
    let receivers: Vec<JoinHandle<Outcome>> = (0..20)
        .map(|_| {
            let (desk, seen) = (desk.clone(), seen.clone());
            tokio::spawn(async move {
                let delivery = desk.next().await?;
                *seen.lock().await.entry(said(&delivery)).or_default() += 1;
                Ok(())
            })
        })
        .collect();
    all_done(receivers).await?;
    each_came_once(&seen, 20).await
}

/// Fails each message once, and then is done with it, until `total` are done or none comes.
fn worker(desk: Desk, done: Seen, total: usize) -> JoinHandle<Outcome> {
    tokio::spawn(async move {
        let mut last = Instant::now();
        while done.lock().await.len() < total && last.elapsed() < desk.timing.patience {
            let receive = Receive::new(2, desk.timing.quiet);
            for delivery in desk.consumer.receive(&desk.group, receive).await? {
                last = Instant::now();
                if delivery.attempt == 1 {
                    desk.nack(&delivery, "once more").await?;
                    continue;
                }
                ensure_eq(delivery.attempt, 2, "the attempt after one failure")?;
                *done.lock().await.entry(said(&delivery)).or_default() += 1;
                desk.ack(&delivery).await?;
            }
        }
        Ok(())
    })
}

async fn a_message_that_fails_once_is_done_once(cx: Context) -> Outcome {
    let desk = Desk::new(&cx).await?;
    desk.send_all((0..20).map(|n| text(&n.to_string()))).await?;
    let done = Seen::default();
    let workers: Vec<_> = (0..3)
        .map(|_| worker(desk.clone(), done.clone(), 20))
        .collect();
    all_done(workers).await?;
    each_came_once(&done, 20).await
}
