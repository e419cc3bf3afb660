//! Tasks on a file: what other processes, the clock and the file's size have to do with them.

mod common;
mod family;
mod leases;
mod many;
mod pushing;
