//! `statehouse ref`

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use statehouse_config::parse_duration;
use statehouse_contracts::{Holder, ReferenceId};

use crate::cli::input;

/// Store and resolve large content.
#[derive(Debug, Subcommand)]
pub enum RefCommand {
    /// Store content; prints its id and holder
    Put {
        /// The content: text, @FILE, or - for standard input
        content: String,
        /// Who holds it; a new holder when not given
        #[arg(long)]
        holder: Option<Holder>,
        /// How long it lives at most
        #[arg(long, value_name = "TIME", value_parser = parse_duration)]
        ttl: Option<Duration>,
        /// Its media type
        #[arg(long, value_name = "TYPE")]
        content_type: Option<String>,
        /// How to store it
        #[arg(long, value_enum, default_value = "auto")]
        compression: CompressionArg,
    },
    /// Print content
    Get {
        /// Its id
        id: ReferenceId,
        /// Only these bytes, such as 0..1024
        #[arg(long, value_name = "FROM..TO", value_parser = input::range)]
        range: Option<Range<u64>>,
        /// Into this file
        #[arg(long, short, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Print what is known of content
    Stat {
        /// Its id
        id: ReferenceId,
    },
    /// List content
    List {
        /// Only what this holder holds
        #[arg(long)]
        holder: Option<Holder>,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// Go on from the cursor of an earlier list
        #[arg(long, value_name = "CURSOR")]
        after: Option<String>,
    },
    /// Hold content
    Retain {
        /// Its id
        id: ReferenceId,
        /// Who
        holder: Holder,
        /// Only so long
        #[arg(long, value_name = "TIME", value_parser = parse_duration)]
        expires: Option<Duration>,
    },
    /// Stop holding content
    Release {
        /// Its id
        id: ReferenceId,
        /// Who
        holder: Holder,
    },
    /// Remove content, whoever holds it
    Delete {
        /// Its id
        id: ReferenceId,
    },
    /// Remove what has expired and what nobody holds
    Gc,
    /// Print sums
    Stats,
}

/// How to store content.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum CompressionArg {
    /// zstd from 1,024 bytes when that is smaller
    Auto,
    /// As it is
    None,
    /// gzip
    Gzip,
    /// zstd
    Zstd,
    /// LZ4
    Lz4,
}
