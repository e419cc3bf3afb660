//! One request to a broker, in the remoting protocol.

use std::collections::HashMap;
use std::fmt::Display;

use bytes::Bytes;
use cheetah_string::CheetahString;
use rocketmq_protocol::code::request_code::RequestCode;
use rocketmq_protocol::protocol::remoting_command::RemotingCommand;
use serde::Serialize;
use serde::de::DeserializeOwned;
use statehouse_contracts::{Error, Result};

use crate::error::{code, refused};

/// A request: a code, named fields and a body.
#[derive(Debug)]
pub(crate) struct Request {
    code: RequestCode,
    fields: HashMap<CheetahString, CheetahString>,
    body: Option<Bytes>,
    waits: bool,
}

impl Request {
    pub(crate) fn new(code: RequestCode) -> Self {
        Self {
            code,
            fields: HashMap::new(),
            body: None,
            waits: false,
        }
    }

    pub(crate) fn field(self, name: &'static str, value: impl Display) -> Self {
        self.text(name, value.to_string().into())
    }

    /// The same without a copy.
    pub(crate) fn text(mut self, name: &'static str, value: CheetahString) -> Self {
        self.fields
            .insert(CheetahString::from_static_str(name), value);
        self
    }

    pub(crate) fn body(mut self, body: Bytes) -> Self {
        self.body = Some(body);
        self
    }

    pub(crate) fn json(self, body: &impl Serialize) -> Result<Self> {
        let body = serde_json::to_vec(body)
            .map_err(|error| Error::internal(format!("a request cannot be written: {error}")))?;
        Ok(self.body(body.into()))
    }

    /// The broker may let it wait, and it changes nothing: it ends with its session.
    pub(crate) fn waiting(mut self, waits: bool) -> Self {
        self.waits = waits;
        self
    }

    pub(crate) fn waits(&self) -> bool {
        self.waits
    }

    pub(crate) fn into_command(self) -> RemotingCommand {
        let command =
            RemotingCommand::create_remoting_command(self.code).set_ext_fields(self.fields);
        match self.body {
            Some(body) => command.set_body(body),
            None => command,
        }
    }
}

/// The broker's answer.
pub(crate) struct Answer(pub(crate) RemotingCommand);

impl Answer {
    pub(crate) fn code(&self) -> i32 {
        self.0.code()
    }

    pub(crate) fn remark(&self) -> &str {
        self.0.remark().map_or("", CheetahString::as_str)
    }

    /// The answer, if it is a success.
    pub(crate) fn success(self, operation: &'static str) -> Result<Self> {
        match self.code() {
            code::SUCCESS => Ok(self),
            code => Err(refused(operation, code, self.remark())),
        }
    }

    /// A field of the answer.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let fields = self.0.ext_fields()?;
        fields.get(name).map(CheetahString::as_str)
    }

    /// A field that must be there and be a number.
    pub(crate) fn number(&self, name: &str) -> Result<i64> {
        self.field(name)
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| Error::internal(format!("RocketMQ answers without the number {name}")))
    }

    pub(crate) fn body(&self) -> Bytes {
        self.0.body().cloned().unwrap_or_default()
    }

    /// The body as JSON, as far as `T` reads it.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body())
            .map_err(|error| Error::internal(format!("RocketMQ's answer cannot be read: {error}")))
    }
}
