//! RecipientInfo (RFC 5652 §6.2, RFC 5753 §3.1): read and written.

use crate::certificate::{self, Certificate, hex};
use crate::der::{self, Cursor};
use crate::error::Result;
use crate::limits;
use crate::policy::{Algorithm, KeyAgreement, KeyTransport, Refusal};

/// Whom a recipient's part of the message is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RecipientId {
    /// IssuerAndSerialNumber, whole.
    IssuerAndSerial(Vec<u8>),
    KeyIdentifier(Vec<u8>),
}

impl RecipientId {
    pub(crate) fn is(&self, certificate: &Certificate) -> bool {
        match self {
            Self::IssuerAndSerial(id) => *id == certificate.issuer_and_serial,
            Self::KeyIdentifier(id) => certificate.key_identifier.as_ref() == Some(id),
        }
    }

    /// For people.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::IssuerAndSerial(id) => match Cursor::new(id, 0, "recipient").any() {
                Ok(element) => certificate::describe_issuer_and_serial(element),
                Err(_) => "an unreadable name".to_owned(),
            },
            Self::KeyIdentifier(id) => format!("key identifier {}", hex(id)),
        }
    }
}

/// One recipient's part of the message. What the policy refuses is kept as its refusal: another
/// recipient's part may be fine.
#[derive(Clone, Debug)]
pub(crate) enum RecipientInfo {
    KeyTransport {
        id: RecipientId,
        algorithm: Result<KeyTransport, Refusal>,
        encrypted_key: Vec<u8>,
    },
    KeyAgreement {
        id: RecipientId,
        algorithm: Result<KeyAgreement, Refusal>,
        originator: Originator,
        wrapped_key: Vec<u8>,
    },
    /// A kind that is not read: its name.
    Other(&'static str),
}

/// The sender's half of an ephemeral-static key agreement.
#[derive(Clone, Debug)]
pub(crate) struct Originator {
    /// The point; None where another kind of originator stands there.
    pub(crate) public_key: Option<Vec<u8>>,
    /// UserKeyingMaterial.
    pub(crate) ukm: Option<Vec<u8>>,
}

impl RecipientInfo {
    /// For people: whom it is for.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::KeyTransport { id, .. } | Self::KeyAgreement { id, .. } => id.name(),
            Self::Other(kind) => (*kind).to_owned(),
        }
    }

    /// For people: how the content-encryption key is encrypted.
    pub(crate) fn algorithm_name(&self) -> String {
        match self {
            Self::KeyTransport { algorithm: Ok(algorithm), .. } => algorithm.name(),
            Self::KeyAgreement { algorithm: Ok(algorithm), .. } => algorithm.name(),
            Self::KeyTransport { algorithm: Err(refusal), .. } | Self::KeyAgreement { algorithm: Err(refusal), .. } => {
                format!("not read: {refusal}")
            }
            Self::Other(_) => "not read".to_owned(),
        }
    }
}

/// Reads RecipientInfos, a SET, that begins at byte `at` of the input. A KeyAgreeRecipientInfo for
/// several recipients becomes several.
pub(crate) fn read_all(set: &[u8], at: u64) -> Result<Vec<RecipientInfo>> {
    let mut outer = Cursor::new(set, at, "RecipientInfos");
    let mut infos = outer.expect(der::SET)?.open();
    let mut recipients = Vec::new();
    while !infos.is_empty() {
        read(&mut infos, &mut recipients)?;
        if recipients.len() > limits::RECIPIENTS {
            return Err(infos.malformed("there are more than 64 recipients"));
        }
    }
    Ok(recipients)
}

fn read(infos: &mut Cursor<'_>, out: &mut Vec<RecipientInfo>) -> Result<()> {
    let info = infos.any()?;
    let mut fields = info.open();
    match info.tag {
        der::SEQUENCE => {
            fields.unsigned()?;
            let id = match fields.optional(der::context(0))? {
                Some(identifier) => RecipientId::KeyIdentifier(identifier.contents.to_vec()),
                None => RecipientId::IssuerAndSerial(fields.expect(der::SEQUENCE)?.whole.to_vec()),
            };
            let algorithm = KeyTransport::from_algorithm(&Algorithm::read(&mut fields)?);
            let encrypted_key = fields.expect(der::OCTET_STRING)?.contents.to_vec();
            fields.end()?;
            out.push(RecipientInfo::KeyTransport { id, algorithm, encrypted_key });
        }
        0xa1 => {
            fields.unsigned()?;
            let public_key = originator_public_key(&mut fields)?;
            let ukm = match fields.optional(der::context_constructed(1))? {
                Some(ukm) => Some(ukm.open().expect(der::OCTET_STRING)?.contents.to_vec()),
                None => None,
            };
            let originator = Originator { public_key, ukm };
            let algorithm = KeyAgreement::from_algorithm(&Algorithm::read(&mut fields)?);
            let mut keys = fields.sequence()?;
            fields.end()?;
            while !keys.is_empty() {
                let mut key = keys.sequence()?;
                let id = match key.optional(der::context_constructed(0))? {
                    Some(identifier) => {
                        RecipientId::KeyIdentifier(identifier.open().expect(der::OCTET_STRING)?.contents.to_vec())
                    }
                    None => RecipientId::IssuerAndSerial(key.expect(der::SEQUENCE)?.whole.to_vec()),
                };
                let wrapped_key = key.expect(der::OCTET_STRING)?.contents.to_vec();
                key.end()?;
                let (algorithm, originator) = (algorithm.clone(), originator.clone());
                out.push(RecipientInfo::KeyAgreement { id, algorithm, originator, wrapped_key });
                if out.len() > limits::RECIPIENTS {
                    break;
                }
            }
        }
        0xa2 => out.push(RecipientInfo::Other("a shared key (KEKRecipientInfo)")),
        0xa3 => out.push(RecipientInfo::Other("a password (PasswordRecipientInfo)")),
        0xa4 => out.push(RecipientInfo::Other("another kind (OtherRecipientInfo)")),
        _ => out.push(RecipientInfo::Other("an unknown kind")),
    }
    Ok(())
}

/// OriginatorIdentifierOrKey (RFC 5652 §6.2.2): the point of an originatorKey.
fn originator_public_key(fields: &mut Cursor<'_>) -> Result<Option<Vec<u8>>> {
    let mut choice = fields.expect(der::context_constructed(0))?.open();
    match choice.peek() {
        Some(0xa1) => {
            let mut key = choice.any()?.open();
            Algorithm::read(&mut key)?;
            let point = key.bit_string()?.to_vec();
            key.end()?;
            Ok(Some(point))
        }
        _ => Ok(None),
    }
}

/// KeyTransRecipientInfo with issuerAndSerialNumber.
pub(crate) fn key_transport(certificate: &Certificate, algorithm: &[u8], encrypted_key: &[u8]) -> Vec<u8> {
    der::sequence(&[&der::unsigned(0), &certificate.issuer_and_serial, algorithm, &der::octet_string(encrypted_key)])
}

/// KeyAgreeRecipientInfo for one recipient, with an ephemeral originatorKey.
pub(crate) fn key_agreement(
    certificate: &Certificate,
    originator: &[u8],
    algorithm: &[u8],
    wrapped_key: &[u8],
) -> Vec<u8> {
    let bits = der::element(der::BIT_STRING, &[&[0], originator]);
    let originator_key =
        der::element(der::context_constructed(1), &[&der::algorithm(crate::oid::EC_PUBLIC_KEY, &[]), &bits]);
    let originator = der::element(der::context_constructed(0), &[&originator_key]);
    let recipient = der::sequence(&[&certificate.issuer_and_serial, &der::octet_string(wrapped_key)]);
    der::element(
        der::context_constructed(1),
        &[&der::unsigned(3), &originator, algorithm, &der::sequence(&[&recipient])],
    )
}

/// ECC-CMS-SharedInfo (RFC 5753 §7.2), which the key derivation takes in.
pub(crate) fn shared_info(wrap_algorithm: &[u8], ukm: Option<&[u8]>, kek_length: usize) -> Vec<u8> {
    let ukm = ukm.map(|ukm| der::element(der::context_constructed(0), &[&der::octet_string(ukm)])).unwrap_or_default();
    let bits = u32::try_from(kek_length * 8).expect("a key has at most 256 bits").to_be_bytes();
    let bits = der::element(der::context_constructed(2), &[&der::octet_string(&bits)]);
    der::sequence(&[wrap_algorithm, &ukm, &bits])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oid;

    /// The bytes that OpenSSL binds for aes256-wrap without ukm.
    #[test]
    fn shared_info_is_as_rfc_5753_has_it() {
        let wrap = der::algorithm(oid::AES_256_WRAP, &[]);
        assert_eq!(hex(&shared_info(&wrap, None, 32)), "3015300b060960864801650304012da206040400000100");
    }
}
