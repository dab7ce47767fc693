//! What can be said of a message without a key: nothing of it is proven.

use crate::armour;
use crate::ber::BerReader;
use crate::envelope::{Header, NONCE};
use crate::error::Result;
use crate::input::Input;
use crate::limits;
use crate::policy::{Container, ContentCipher};
use crate::slice::PREFIX;
use crate::stream::Progress;

/// A message, or a row of them, as it looks from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Inspection {
    /// Whether it is in PEM or S/MIME armour.
    pub armoured: bool,
    /// Content type of the first message.
    pub container: Container,
    /// Content cipher of the first message.
    pub cipher: ContentCipher,
    /// Recipients of the first message.
    pub recipients: Vec<RecipientView>,
    /// Number of messages in a row.
    pub messages: u64,
    /// Length of everything, in bytes, without armour.
    pub size: u64,
    /// Length of all encrypted content, in bytes.
    pub content: u64,
    /// The long stream that the messages are numbered as.
    pub stream: Option<StreamView>,
    /// What is wrong, as far as it shows.
    pub findings: Vec<String>,
}

/// A recipient, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecipientView {
    /// Issuer and serial number, or key identifier, or the kind that is not read.
    pub name: String,
    /// How the content-encryption key is encrypted.
    pub key_encryption: String,
}

/// A long stream, as far as its slices' nonces say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamView {
    /// Length of every slice but the last, in bytes.
    pub slice_size: u64,
    /// Whether every slice is there, in order, the last one included.
    pub complete: bool,
}

/// Reads everything and says what it is.
///
/// # Errors
///
/// Where not even the first header can be read; what is wrong after it is a finding.
pub fn inspect(input: Input, progress: Progress<'_>) -> Result<Inspection> {
    let unarmoured = armour::take_off(input.into_reader()?)?;
    let mut ber = BerReader::new(unarmoured.reader);
    ber.stop_recording();
    let mut scratch = vec![0; limits::PIECE];
    let mut walk = Walk::default();
    let (first, mut content) = Header::read(&mut ber)?;
    let mut header = first;
    let mut view = Inspection {
        armoured: unarmoured.armoured,
        container: header.container,
        cipher: header.cipher,
        recipients: views(&header),
        messages: 0,
        size: 0,
        content: 0,
        stream: None,
        findings: Vec::new(),
    };
    loop {
        let start = view.size;
        let rest = (|| -> Result<bool> {
            loop {
                let count = content.fill(&mut ber, &mut scratch)?;
                view.content += count as u64;
                progress(count as u64);
                if count < scratch.len() {
                    break;
                }
            }
            header.read_trailer(&mut ber)?;
            ber.at_end("the message")
        })();
        view.size = ber.position();
        let ended = match rest {
            Ok(ended) => ended,
            Err(error) => {
                view.findings.push(error.to_string());
                break;
            }
        };
        view.messages += 1;
        walk.add(&header, view.size - start, ended, &mut view.findings);
        if ended || view.findings.len() >= FINDINGS {
            break;
        }
        match Header::read(&mut ber) {
            Ok((next, next_content)) => (header, content) = (next, next_content),
            Err(error) => {
                view.findings.push(format!("after message {}: {error}", view.messages));
                break;
            }
        }
    }
    view.stream = walk.view(&view.findings);
    if view.stream.is_none() && view.messages > 1 {
        view.findings.push(format!(
            "{} messages in a row that are no stream: `decrypt` wants each in its own file",
            view.messages
        ));
    }
    Ok(view)
}

/// After so many findings it is damaged enough.
const FINDINGS: usize = 20;

fn views(header: &Header) -> Vec<RecipientView> {
    let view = |info: &crate::recipient_info::RecipientInfo| RecipientView {
        name: info.name(),
        key_encryption: info.algorithm_name(),
    };
    header.recipients.iter().map(view).collect()
}

/// The slices seen so far.
#[derive(Default)]
struct Walk {
    /// None where it is no stream's.
    first: Option<First>,
    /// How many messages there were.
    count: u64,
}

/// The first slice of a row.
struct First {
    prefix: [u8; PREFIX],
    recipient_infos: Vec<u8>,
    /// Its length in bytes.
    size: u64,
    /// Its number: 0, unless slices before it are missing.
    number: u64,
}

impl Walk {
    fn add(&mut self, header: &Header, size: u64, ended: bool, findings: &mut Vec<String>) {
        let slice = slice_marks(header);
        let position = self.count;
        self.count += 1;
        if position == 0 {
            let first =
                |(prefix, number, _)| First { prefix, recipient_infos: header.recipient_infos.clone(), size, number };
            self.first = slice.map(first);
        }
        let Some(first) = &self.first else { return };
        let same_stream = slice.is_some_and(|(prefix, ..)| prefix == first.prefix);
        if first.number > 0 {
            // Any nonce may look like one of a later slice; a second one of the same row tells.
            match position {
                0 => return,
                1 if !same_stream => {
                    self.first = None;
                    return;
                }
                1 => findings.push(format!("it begins with slice {}: those before are missing", first.number)),
                _ => {}
            }
        }
        let number = first.number + position;
        let problem = match slice {
            None => Some("it is not a slice".to_owned()),
            Some(_) if !same_stream => Some("it belongs to another stream".to_owned()),
            Some(slice) => first.problem_of(header, slice, number, size, ended),
        };
        findings.extend(problem.map(|problem| format!("slice {number}: {problem}")));
    }

    fn view(&self, findings: &[String]) -> Option<StreamView> {
        let first = self.first.as_ref().filter(|first| first.number == 0 || self.count > 1);
        first.map(|first| StreamView { slice_size: first.size, complete: findings.is_empty() })
    }
}

impl First {
    /// What is wrong with a later slice of the same stream, or with the first itself.
    fn problem_of(&self, header: &Header, slice: Marks, number: u64, size: u64, ended: bool) -> Option<String> {
        let (_, found, last) = slice;
        if header.recipient_infos != self.recipient_infos {
            Some("its recipients differ from those of the first slice".to_owned())
        } else if found != number {
            Some(format!("it is number {found}: slices are missing, repeated or out of order"))
        } else if last && !ended {
            Some("it is the last, but the input goes on".to_owned())
        } else if !last && ended {
            Some("it is not the last, but nothing follows: the stream is cut off".to_owned())
        } else if !last && size != self.size || size > self.size {
            Some(format!("it is {size} bytes long, the first is {}", self.size))
        } else {
            None
        }
    }
}

/// What a slice's nonce says: prefix, number, last flag.
type Marks = ([u8; PREFIX], u64, bool);

/// None where the message is no slice.
fn slice_marks(header: &Header) -> Option<Marks> {
    if (header.container, header.cipher) != (Container::AuthEnvelopedData, ContentCipher::Aes256Gcm) {
        return None;
    }
    let nonce = <[u8; NONCE]>::try_from(header.nonce.as_slice()).ok()?;
    let prefix = nonce[..PREFIX].try_into().ok()?;
    let number = u32::from_be_bytes(nonce[PREFIX..NONCE - 1].try_into().ok()?);
    (nonce[NONCE - 1] <= 1).then_some((prefix, number.into(), nonce[NONCE - 1] == 1))
}

impl Inspection {
    /// Whether the content has an integrity check.
    #[must_use]
    pub fn is_authenticated(&self) -> bool {
        self.container == Container::AuthEnvelopedData
    }
}
