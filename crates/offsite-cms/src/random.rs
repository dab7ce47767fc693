//! Random bytes. They come from AWS-LC's generator alone: nothing passes keys or nonces in.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};

use crate::error::{Error, Result};

pub(crate) fn fill(bytes: &mut [u8]) -> Result<()> {
    SystemRandom::new().fill(bytes).map_err(|_| Error::Crypto("no random bytes"))
}

pub(crate) fn array<const LENGTH: usize>() -> Result<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    fill(&mut bytes)?;
    Ok(bytes)
}
