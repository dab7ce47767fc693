//! `offsite keygen`

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use offsite::cms::keygen::KeyType;

/// Make a key pair: a private key for the safe, a certificate for the servers
///
/// Writes PREFIX-PRIVATE.pem, which holds the private key and its certificate; PREFIX-cert.pem, the
/// certificate alone; and PREFIX-RECOVER.sh, which restores backups without offsite. None of them
/// may exist yet.
#[derive(Args)]
#[command(after_help = "Examples:
  offsite keygen -o acme                        asks for a passphrase
  offsite keygen -o acme --type p384 --no-passphrase
  offsite keygen -o acme --paper                and print acme-PAPER.html

Keep PREFIX-PRIVATE.pem in a safe place, off every server: whoever has it and its passphrase reads \
every backup, and without it nobody does. PREFIX-RECOVER.sh belongs beside it. Copy PREFIX-cert.pem \
to the servers.")]
pub(crate) struct Keygen {
    /// What the files' names begin with
    #[arg(short, long, value_name = "PREFIX", default_value = "offsite")]
    pub(crate) output: PathBuf,
    /// Kind of key
    #[arg(long = "type", value_name = "TYPE", value_enum, default_value = "rsa4096")]
    pub(crate) key_type: KeyTypeName,
    /// Days that the certificate is valid
    #[arg(long, default_value = "100000", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) days: u32,
    /// Name in the certificate [default: the PREFIX, without folders]
    #[arg(long, value_name = "CN")]
    pub(crate) name: Option<String>,
    /// Protect the private key by the first line of this file
    #[arg(long, value_name = "FILE", conflicts_with = "no_passphrase")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Leave the private key unprotected
    #[arg(long)]
    pub(crate) no_passphrase: bool,
    /// Write PREFIX-PAPER.html as well, a page to print: the private key as QR codes and as lines to type, and how
    /// to make a file of either. It is as secret as the private key
    #[arg(long)]
    pub(crate) paper: bool,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum KeyTypeName {
    Rsa2048,
    Rsa3072,
    Rsa4096,
    P256,
    P384,
    P521,
}

impl From<KeyTypeName> for KeyType {
    fn from(name: KeyTypeName) -> Self {
        match name {
            KeyTypeName::Rsa2048 => Self::Rsa2048,
            KeyTypeName::Rsa3072 => Self::Rsa3072,
            KeyTypeName::Rsa4096 => Self::Rsa4096,
            KeyTypeName::P256 => Self::P256,
            KeyTypeName::P384 => Self::P384,
            KeyTypeName::P521 => Self::P521,
        }
    }
}
