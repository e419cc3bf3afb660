//! The stored form of large content, shared by the adapters that store content themselves.
//!
//! Content is cut into chunks of [`CHUNK_LEN`] plain bytes. Each chunk is compressed on its own and
//! carries a checksum of its stored bytes, so that a range can be read and verified without the
//! rest, and damage is found before anything is decompressed.
//!
//! ```
//! use statehouse_content::{Window, encode};
//! use statehouse_contracts::{Bytes, Compression, ReferenceId};
//!
//! # fn main() -> statehouse_contracts::Result<()> {
//! let plain = Bytes::from("a long observation ".repeat(10_000));
//! let id = ReferenceId::of(&plain);
//! let encoded = encode(&plain, Compression::Auto)?;
//! assert_eq!(encoded.decode(&id)?, plain);
//!
//! let window = Window::of(encoded.plain_len, 100_000..100_004)?;
//! let read = window.decode(encoded.compression, &encoded.chunks[window.chunks()])?;
//! assert_eq!(read, plain.slice(100_000..100_004));
//! # Ok(())
//! # }
//! ```

mod chunk;
mod codec;
mod window;

pub use chunk::{CHUNK_LEN, Chunk, Encoded, encode};
pub use window::Window;
