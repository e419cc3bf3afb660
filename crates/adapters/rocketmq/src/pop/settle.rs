//! Tells the broker what became of a delivery.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cheetah_string::CheetahString;
use rocketmq_protocol::code::request_code::RequestCode;
use rocketmq_protocol::protocol::header::extra_info_util::ExtraInfoUtil;
use statehouse_contracts::{
    Error, ErrorKind, Lease, Namespace, Result, Settle, SettleAction, Settled,
};

use crate::client::Client;
use crate::dead;
use crate::error::code;
use crate::groups::Group;
use crate::log;
use crate::notes;
use crate::pop::copy::give_again;
use crate::pop::engine::{Engine, Pop};
use crate::pop::held::Content;
use crate::pop::leases::{Known, Turn, lost};
use crate::pop::source::Place;
use crate::pop::token::Token;
use crate::request::Request;

/// The lease is over: this message does not come back to the group.
pub(crate) async fn acknowledge(client: &Arc<Client>, group: &Group, place: &Place) -> Result<()> {
    let broker = client.broker(&place.broker)?;
    let request = Request::new(RequestCode::AckMessage)
        .text("consumerGroup", group.native.clone())
        .text("topic", place.topic.clone())
        .field("queueId", place.queue)
        .text("extraInfo", place.handle.clone())
        .field("offset", place.offset);
    let answer = client.call("acknowledge", &broker.address, request).await?;
    answer.success("acknowledge").map(|_| ())
}

/// The lease ends after `wait` from now. With `uncounted` the delivery was none, where the broker
/// can tell; else it counts. Answers the handle that replaces the old one.
pub(crate) async fn end_after(
    client: &Arc<Client>,
    group: &Group,
    place: &Place,
    wait: Duration,
    uncounted: bool,
) -> Result<CheetahString> {
    let broker = client.broker(&place.broker)?;
    let request = Request::new(RequestCode::ChangeMessageInvisibleTime)
        .text("consumerGroup", group.native.clone())
        .text("topic", place.topic.clone())
        .field("queueId", place.queue)
        .text("extraInfo", place.handle.clone())
        .field("offset", place.offset)
        .field("invisibleTime", wait.as_millis())
        .field("suspend", uncounted);
    let answer = client.call("extend", &broker.address, request).await?;
    if answer.code() != code::SUCCESS {
        return Err(lost("the broker does not know the lease any more"));
    }
    let handle = ExtraInfoUtil::build_extra_info_with_offset(
        place.offset,
        answer.number("popTime")?,
        answer.number("invisibleTime")?,
        answer.number("reviveQid")? as i32,
        &place.topic,
        &place.broker,
        place.queue,
        place.offset,
    );
    Ok(handle.into())
}

impl Pop {
    /// Settles one delivery.
    pub(crate) async fn settle(
        self: &Arc<Self>,
        namespace: &Namespace,
        settle: Settle,
    ) -> Result<Settled> {
        let Settle { token, action } = settle;
        let known = self.leases.of(&token)?;
        let unknown = || Error::invalid("the lease token is of another namespace");
        let (of, name) = self
            .cluster
            .groups
            .naming
            .read_group(&known.token.group)
            .ok_or_else(unknown)?;
        if of != *namespace {
            return Err(unknown());
        }
        self.check_lease(&action)?;
        let group = self.cluster.groups.find(namespace, &name).await?;
        if group.incarnation != known.token.incarnation {
            return Err(lost("its group was deleted"));
        }
        let using = match known.begin(&action)? {
            Turn::Done => return Ok(Settled { lease: None }),
            Turn::Yours(using) => using,
        };
        let engine = self.engine(&group);
        let work = Work {
            pop: self.clone(),
            engine,
            group,
            known,
        };
        let settled = work.settle(action).await?;
        self.leases.done(token, using);
        Ok(settled)
    }
}

/// One delivery that is being settled.
struct Work {
    pop: Arc<Pop>,
    engine: Arc<Engine>,
    group: Arc<Group>,
    known: Arc<Known>,
}

impl Work {
    async fn settle(&self, action: SettleAction) -> Result<Settled> {
        match action {
            SettleAction::Ack => self.acknowledge().await?,
            SettleAction::Nack { delay, error } => self.nack(delay, error).await?,
            SettleAction::DeadLetter { reason } => {
                let mut content = self.content().await?;
                let broker = self.client().broker(&self.place().broker)?;
                self.engine
                    .complete(&broker, &self.group, self.place(), &mut content)
                    .await?;
                self.bury(content, &reason).await?;
            }
            SettleAction::Extend { lease } => return self.extend(lease).await,
        }
        Ok(Settled { lease: None })
    }

    fn client(&self) -> &Arc<Client> {
        &self.pop.cluster.client
    }

    fn place(&self) -> &Place {
        &self.known.token.place
    }

    async fn acknowledge(&self) -> Result<()> {
        acknowledge(self.client(), &self.group, self.place()).await?;
        if self.place().ordered {
            self.engine.poke();
        }
        Ok(())
    }

    async fn nack(&self, delay: Option<Duration>, error: Option<String>) -> Result<()> {
        let attempt = self.known.token.attempt;
        let wait = delay.unwrap_or_else(|| self.group.spec.backoff.wait(attempt, fastrand::f64()));
        let broker = self.client().broker(&self.place().broker)?;
        let mut content = self.content().await?;
        self.engine
            .complete(&broker, &self.group, self.place(), &mut content)
            .await?;
        content.history.failed(attempt, error.as_deref());
        if attempt >= self.group.spec.max_deliveries {
            return self.bury(content, dead::MAX_DELIVERIES).await;
        }
        if self.place().ordered {
            // It comes again in its place, which holds up its queue until then.
            end_after(self.client(), &self.group, self.place(), wait, false).await?;
            self.engine.remember(&content);
            let noted = notes::write(self.client(), &broker, &self.group, &content).await;
            if let Err(error) = noted {
                tracing::debug!(%error, "other processes will not know why a delivery failed");
            }
        } else if !wait.is_zero() && self.pop.cluster.settings.max_delay().is_none() {
            // The broker cannot hold a copy back, so what went wrong is not kept.
            end_after(self.client(), &self.group, self.place(), wait, false).await?;
        } else {
            give_again(&self.pop.cluster, &broker, &self.group, &content, wait).await?;
            acknowledge(self.client(), &self.group, self.place()).await?;
        }
        self.engine.given_back(wait);
        Ok(())
    }

    async fn bury(&self, content: Content, reason: &str) -> Result<()> {
        let broker = self.client().broker(&self.place().broker)?;
        dead::bury(self.client(), &broker, &self.group, &content, reason).await?;
        self.acknowledge().await
    }

    async fn extend(&self, lease: Duration) -> Result<Settled> {
        let before = Instant::now();
        let handle = end_after(self.client(), &self.group, self.place(), lease, false).await?;
        let deadline = before + lease;
        let token = Token::new(
            &self.known.token.group,
            self.known.token.incarnation,
            Place {
                handle,
                ..self.place().clone()
            },
            self.known.token.attempt,
            deadline,
        );
        let sealed = token.seal()?;
        let content = self.known.content();
        self.pop
            .leases
            .add(sealed.clone(), token, deadline, content);
        Ok(Settled {
            lease: Some(Lease {
                token: sealed,
                deadline,
            }),
        })
    }

    /// The message: this process has it, or reads it again from where it lies.
    async fn content(&self) -> Result<Content> {
        if let Some(content) = self.known.content() {
            return Ok(Content::clone(&content));
        }
        let place = self.place();
        let broker = self.client().broker(&place.broker)?;
        let native = log::read_one(
            &self.pop.cluster.groups,
            &broker,
            &place.topic,
            place.queue,
            place.offset,
        )
        .await?
        .ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                "the message is not there any more: the broker keeps it for a limited time",
            )
        })?;
        Content::at(native, self.known.token.attempt)
    }
}
