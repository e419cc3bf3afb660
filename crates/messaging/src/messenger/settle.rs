//! Settling by token, from any process.

use statehouse_contracts::{
    ConsumerExt, GroupName, Lease, LeaseToken, MessageId, ReferenceId, Result, Settle,
    SettleAction, Settled,
};

use super::{Incoming, Messenger};

/// What the token of a delivery by reference begins with.
const PREFIX: &str = "reference:";

/// What a delivery holds besides its lease.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    content: ReferenceId,
    message: MessageId,
    group: GroupName,
}

impl Held {
    /// The token that tells of the content, too. One that would be too long stays as it is: the
    /// content then waits for the sweep.
    fn onto(&self, token: &LeaseToken) -> LeaseToken {
        let Self {
            content,
            message,
            group,
        } = self;
        let text = format!("{PREFIX}{content}:{message}:{group}:{token}");
        LeaseToken::new(text).unwrap_or_else(|_| token.clone())
    }

    /// What `token` tells, and the token of the lease.
    fn of(token: &LeaseToken) -> Option<(Self, LeaseToken)> {
        let mut parts = token.as_str().strip_prefix(PREFIX)?.splitn(4, ':');
        let held = Self {
            content: parts.next()?.parse().ok()?,
            message: parts.next()?.parse().ok()?,
            group: parts.next()?.parse().ok()?,
        };
        Some((held, LeaseToken::new(parts.next()?).ok()?))
    }
}

impl Incoming {
    /// The token by which [`Messenger::settle_by_token`] settles this delivery, in any process: that
    /// of its lease, and of its content where that came by reference.
    pub fn token(&self) -> LeaseToken {
        let token = &self.delivery.lease.token;
        let Some(reference) = self.reference() else {
            return token.clone();
        };
        let held = Held {
            content: reference.id,
            message: self.message().id,
            group: self.delivery.group.clone(),
        };
        held.onto(token)
    }
}

impl Messenger {
    /// Settles deliveries by their tokens, those of [`Incoming::token`] and plain ones alike; one
    /// answer for each, in their order. The content of what is acknowledged goes with its last ack.
    ///
    /// # Errors
    /// Those of [`Consumer::settle`](statehouse_contracts::Consumer::settle).
    pub async fn settle_by_token(&self, batch: Vec<Settle>) -> Result<Vec<Result<Settled>>> {
        let (mut held, mut plain) = (Vec::new(), Vec::new());
        for settle in batch {
            let (of, token) = match Held::of(&settle.token) {
                Some((of, token)) => (Some(of), token),
                None => (None, settle.token),
            };
            held.push((of, settle.action == SettleAction::Ack));
            plain.push(Settle {
                token,
                action: settle.action,
            });
        }
        let mut answers = self.0.consumer.settle(plain).await?;
        for (answer, (held, acknowledged)) in answers.iter_mut().zip(held) {
            let (Ok(settled), Some(held)) = (answer, held) else {
                continue;
            };
            if acknowledged {
                self.let_go(&held.content, held.message, &held.group).await;
            }
            settled.lease = settled.lease.take().map(|lease| Lease {
                token: held.onto(&lease.token),
                ..lease
            });
        }
        Ok(answers)
    }

    /// Settles one delivery by its token.
    ///
    /// # Errors
    /// Those of [`Consumer::settle`](statehouse_contracts::Consumer::settle).
    pub async fn settle_one_by_token(&self, settle: Settle) -> Result<Settled> {
        if Held::of(&settle.token).is_none() {
            return self.0.consumer.settle_one(settle).await;
        }
        let answer = self.settle_by_token(vec![settle]).await?.pop();
        answer.unwrap_or_else(|| Ok(Settled { lease: None }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_tells_of_its_content() {
        let held = Held {
            content: ReferenceId::of(b"x"),
            message: MessageId::random(),
            group: GroupName::mailbox("a b"),
        };
        let plain = LeaseToken::new("a:b:c").unwrap();
        assert_eq!(
            Held::of(&held.onto(&plain)),
            Some((held.clone(), plain.clone()))
        );
        assert_eq!(Held::of(&plain), None);
        assert_eq!(Held::of(&LeaseToken::new("reference:x:y").unwrap()), None);
        let long = LeaseToken::new("t".repeat(LeaseToken::MAX_BYTES)).unwrap();
        assert_eq!(held.onto(&long), long);
    }
}
