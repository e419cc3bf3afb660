//! Receiving by POP: the broker leases messages one by one, and no consumer owns a queue.
//!
//! - [`source`] asks the broker: for messages, and whether there are any.
//! - [`held`] reads what it answers: which attempt it is, what went wrong before, when it expires.
//! - [`engine`] keeps what is popped and not handed out yet, for one group of this process.
//! - [`keep`] gives back what nobody takes; [`watch`] waits for more without taking anything.
//! - [`token`] lets any process settle a delivery; [`leases`] fences by this process's clock.
//! - [`settle`] tells the broker what became of a delivery; [`copy`] writes the copy of a message
//!   that comes again, or that is given up.

mod buffer;
pub(crate) mod copy;
pub(crate) mod engine;
mod fetch;
pub(crate) mod held;
pub(crate) mod history;
mod keep;
mod leases;
pub(crate) mod settle;
pub(crate) mod source;
mod token;
mod watch;
