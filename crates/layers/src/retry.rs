//! Repeats what failed for the moment.

use std::future::Future;
use std::time::Duration;

use statehouse_contracts::{Error, Result, Retry as Advice};

use crate::{Call, Layer, Repeat};

/// Repeats an operation whose error says that it may succeed later, unless its outcome is unknown
/// and a repeat would not be recognised. Waits between attempts grow by two from `base` to `cap`,
/// each spread at random over its whole length ("full jitter"), and are never shorter than the
/// error's own advice. The items of a batch are repeated each for itself.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// How many attempts there are in all, at least 1.
    pub attempts: u32,
    /// The first wait.
    pub base: Duration,
    /// The longest wait.
    pub cap: Duration,
}

impl Default for Retry {
    /// 4 attempts, from 50 ms to 2 s.
    fn default() -> Self {
        Self {
            attempts: 4,
            base: Duration::from_millis(50),
            cap: Duration::from_secs(2),
        }
    }
}

impl Retry {
    /// How long to wait after the failed attempt number `attempt` (from 1); `None`: give up.
    fn wait(&self, call: &Call, attempt: u32, error: &Error) -> Option<Duration> {
        let Advice::After(advised) = error.retry() else {
            return None;
        };
        let doubtful = error.is_ambiguous() && call.repeat == Repeat::Unsafe;
        if doubtful || attempt >= self.attempts {
            return None;
        }
        let growth = 2u32.saturating_pow(attempt - 1);
        let longest = self.base.saturating_mul(growth).min(self.cap);
        Some(longest.mul_f64(rand::random::<f64>()).max(advised))
    }

    /// The error of the last attempt, as the caller should see it.
    fn last(&self, attempt: u32, error: Error) -> Error {
        let retryable = matches!(error.retry(), Advice::After(_));
        let used_up = retryable && attempt >= self.attempts && self.attempts > 1;
        if used_up {
            error
                .with_retry(Advice::Exhausted)
                .with_context("attempts", attempt)
        } else {
            error
        }
    }
}

impl Layer for Retry {
    const REPEATS: bool = true;

    async fn call<T, F, Fut>(&self, call: &Call, mut run: F) -> Result<T>
    where
        T: Send,
        F: FnMut() -> Fut + Send,
        Fut: Future<Output = Result<T>> + Send,
    {
        let mut attempt = 1;
        loop {
            let error = match run().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            match self.wait(call, attempt, &error) {
                None => return Err(self.last(attempt, error)),
                Some(wait) => pause(call, wait, &error).await,
            }
            attempt += 1;
        }
    }

    async fn batch<I, T, F, Fut>(
        &self,
        call: &Call,
        items: Vec<I>,
        mut run: F,
    ) -> Result<Vec<Result<T>>>
    where
        I: Clone + Send + Sync,
        T: Send,
        F: FnMut(Vec<I>) -> Fut + Send,
        Fut: Future<Output = Result<Vec<Result<T>>>> + Send,
    {
        let mut answers = self.call(call, || run(items.clone())).await?;
        let mut attempt = 1;
        loop {
            let failed = |answer: &Result<T>| {
                answer
                    .as_ref()
                    .err()
                    .and_then(|error| self.wait(call, attempt, error))
            };
            let again: Vec<(usize, Duration)> = answers
                .iter()
                .enumerate()
                .filter_map(|(place, answer)| Some((place, failed(answer)?)))
                .collect();
            let Some(wait) = again.iter().map(|(_, wait)| *wait).max() else {
                break;
            };
            if let Some(Err(error)) = again.first().map(|(place, _)| &answers[*place]) {
                pause(call, wait, error).await;
            }
            attempt += 1;
            let some = again
                .iter()
                .map(|(place, _)| items[*place].clone())
                .collect();
            match run(some).await {
                Ok(repeated) => {
                    for ((place, _), answer) in again.into_iter().zip(repeated) {
                        answers[place] = answer;
                    }
                }
                // The answers of the other items stand.
                Err(error) => {
                    for (place, _) in again {
                        answers[place] = Err(Error::new(error.kind(), error.to_string())
                            .with_retry(error.retry())
                            .with_ambiguous(error.is_ambiguous()));
                    }
                }
            }
        }
        let settled = answers
            .into_iter()
            .map(|answer| answer.map_err(|error| self.last(attempt, error)));
        Ok(settled.collect())
    }
}

async fn pause(call: &Call, wait: Duration, error: &Error) {
    metrics::counter!(
        "statehouse_retries_total",
        "backend" => call.backend, "role" => call.role.as_str(), "operation" => call.operation,
    )
    .increment(1);
    tracing::debug!(operation = call.operation, %error, ?wait, "trying again");
    tokio::time::sleep(wait).await;
}

#[cfg(test)]
mod tests {
    use statehouse_contracts::ErrorKind;

    use super::*;
    use crate::Role;

    fn call_of(repeat: Repeat) -> Call {
        Call {
            backend: "test",
            role: Role::State,
            operation: "apply",
            span: tracing::Span::none,
            repeat,
            wait: Duration::ZERO,
            items: 1,
        }
    }

    fn quick() -> Retry {
        Retry {
            attempts: 3,
            base: Duration::from_millis(1),
            cap: Duration::from_millis(2),
        }
    }

    async fn tries(repeat: Repeat, error: impl Fn() -> Error + Send + Sync) -> (u32, Error) {
        let mut runs = 0;
        let answer: Result<()> = quick()
            .call(&call_of(repeat), || {
                runs += 1;
                let error = error();
                async move { Err(error) }
            })
            .await;
        (runs, answer.unwrap_err())
    }

    #[tokio::test]
    async fn an_ambiguous_operation_is_repeated_only_when_a_repeat_is_recognised() {
        let unclear = || Error::new(ErrorKind::Unavailable, "lost").with_ambiguous(true);
        assert_eq!(tries(Repeat::Unsafe, unclear).await.0, 1);
        assert_eq!(tries(Repeat::Idempotent, unclear).await.0, 3);
        assert_eq!(
            tries(Repeat::Unsafe, || Error::new(
                ErrorKind::Unavailable,
                "down"
            ))
            .await
            .0,
            3
        );
    }

    #[tokio::test]
    async fn what_cannot_succeed_is_not_repeated_and_the_last_failure_says_exhausted() {
        assert_eq!(tries(Repeat::Reads, || Error::not_found("none")).await.0, 1);
        let (_, last) = tries(Repeat::Reads, || Error::new(ErrorKind::Overloaded, "full")).await;
        assert_eq!(last.retry(), Advice::Exhausted);
    }

    #[tokio::test]
    async fn only_the_failed_items_of_a_batch_are_sent_again() {
        let mut seen: Vec<Vec<u32>> = Vec::new();
        let answers = quick()
            .batch(
                &call_of(Repeat::Idempotent),
                vec![1, 2, 3],
                |items: Vec<u32>| {
                    seen.push(items.clone());
                    let first = seen.len() == 1;
                    async move {
                        let down = || Error::new(ErrorKind::Unavailable, "down");
                        let answer = |item| {
                            if first && item != 2 {
                                Err(down())
                            } else {
                                Ok(item * 10)
                            }
                        };
                        Ok(items.into_iter().map(answer).collect())
                    }
                },
            )
            .await
            .unwrap();
        let answers: Vec<u32> = answers.into_iter().map(|answer| answer.unwrap()).collect();
        assert_eq!(answers, [10, 20, 30]);
        assert_eq!(seen, [vec![1, 2, 3], vec![1, 3]]);
    }

    #[tokio::test]
    async fn a_repeat_that_fails_as_a_whole_takes_no_answer_back() {
        let mut runs = 0;
        let answers = quick()
            .batch(
                &call_of(Repeat::Idempotent),
                vec![1, 2],
                |items: Vec<u32>| {
                    runs += 1;
                    let first = runs == 1;
                    async move {
                        if !first {
                            return Err(Error::closed());
                        }
                        let down = || Error::new(ErrorKind::Unavailable, "down");
                        let answer = |item| if item == 1 { Ok(item) } else { Err(down()) };
                        Ok(items.into_iter().map(answer).collect())
                    }
                },
            )
            .await
            .unwrap();
        assert_eq!(answers[0].as_ref().unwrap(), &1);
        assert_eq!(answers[1].as_ref().unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(runs, 2);
    }
}
