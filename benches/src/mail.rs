//! A mailbox on SQLite, as an agent uses it.

use bytes::Bytes;
use statehouse_contracts::{Payload, Receive};
use statehouse_messaging::{Incoming, MailboxOptions, Mailboxes, Messenger, PolicyManager};

use crate::{
    Result,
    queue::{Queue, WAIT},
    store::Store,
};

/// Whose mailbox it is.
const AGENT: &str = "bench";

/// The mailbox of one agent, in a file of its own.
#[derive(Clone, Debug)]
pub struct Mail {
    store: Store,
    mailboxes: Mailboxes,
}

impl Mail {
    /// Opens a new file in a folder that goes when it is closed.
    ///
    /// # Errors
    /// Those of the adapter.
    pub async fn open() -> Result<Self> {
        let store = Store::open("").await?;
        let (backend, scope) = store.backend()?;
        let policies = PolicyManager::default().into();
        let messenger = Messenger::open(backend, &scope, policies).await?;
        let mailboxes = Mailboxes::new(messenger, MailboxOptions::default());
        Ok(Self { store, mailboxes })
    }

    /// Finishes and closes the file.
    ///
    /// # Errors
    /// Those of the adapter.
    pub async fn close(&self) -> Result<()> {
        self.store.close().await
    }
}

impl Queue for Mail {
    type Leased = Incoming;

    async fn send(&self, payload: Bytes) -> Result<()> {
        let letter = self.mailboxes.letter(AGENT, Payload::bytes(payload));
        self.mailboxes.send(letter).await?;
        Ok(())
    }

    async fn receive(&self, max: usize) -> Result<Vec<Incoming>> {
        let receive = Receive::new(max, WAIT);
        Ok(self.mailboxes.receive(AGENT, receive).await?)
    }

    async fn ack(&self, leased: Vec<Incoming>) -> Result<()> {
        for settled in self.mailboxes.messenger().ack_all(&leased).await? {
            settled?;
        }
        Ok(())
    }

    fn payload(leased: &Incoming) -> &[u8] {
        leased.message().bytes()
    }
}
