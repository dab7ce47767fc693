//! The errors' names in the vectors, one for each variant.

use offsite_cms::policy::Refusal;
use offsite_cms::{Error, SliceProblem};

/// Every name that a vector may expect beside `ok`.
pub(crate) const ALL: [&str; 33] = [
    "not-cms",
    "malformed",
    "truncated",
    "too-large",
    "armour",
    "trailing",
    "decryption",
    "not-for-this-key",
    "refused/content-type",
    "refused/content-cipher",
    "refused/tag-length",
    "refused/icv-length",
    "refused/icv-length-missing",
    "refused/nonce-length",
    "refused/cipher-parameters",
    "refused/attributes",
    "refused/key-encryption",
    "refused/key-wrap",
    "refused/oaep-parameters",
    "refused/digest",
    "refused/originator-key",
    "refused/agreement-parameters",
    "refused/key-length",
    "slice/altered",
    "slice/out-of-order",
    "slice/other-stream",
    "slice/other-recipients",
    "slice/not-a-slice",
    "slice/size",
    "slice/cut-off",
    "slice/not-last",
    "slice/goes-on",
    "slice/empty",
];

/// The name of an error that a message can cause. Others are the machine's or the caller's.
pub(crate) fn of(error: &Error) -> &'static str {
    match error {
        Error::NotCms { .. } => "not-cms",
        Error::Malformed { .. } => "malformed",
        Error::Truncated { .. } => "truncated",
        Error::TooLarge { .. } => "too-large",
        Error::Armour { .. } => "armour",
        Error::Refused(refusal) => of_refusal(refusal),
        Error::Trailing { .. } => "trailing",
        Error::Slice { problem, .. } => of_problem(*problem),
        Error::Decryption => "decryption",
        Error::NotForThisKey { .. } => "not-for-this-key",
        other => panic!("no message causes this: {other:?}"),
    }
}

fn of_refusal(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::ContentType(_) => "refused/content-type",
        Refusal::ContentCipher { .. } => "refused/content-cipher",
        Refusal::TagLength(_) => "refused/tag-length",
        Refusal::IcvLength(_) => "refused/icv-length",
        Refusal::IcvLengthMissing => "refused/icv-length-missing",
        Refusal::NonceLength { .. } => "refused/nonce-length",
        Refusal::CipherParameters(_) => "refused/cipher-parameters",
        Refusal::Attributes => "refused/attributes",
        Refusal::KeyEncryption(_) => "refused/key-encryption",
        Refusal::KeyWrap(_) => "refused/key-wrap",
        Refusal::OaepParameters => "refused/oaep-parameters",
        Refusal::Digest(_) => "refused/digest",
        Refusal::OriginatorKey => "refused/originator-key",
        Refusal::AgreementParameters => "refused/agreement-parameters",
        Refusal::KeyLength(_) => "refused/key-length",
        other => panic!("a refusal without a name here: {other:?}"),
    }
}

fn of_problem(problem: SliceProblem) -> &'static str {
    match problem {
        SliceProblem::Altered => "slice/altered",
        SliceProblem::OutOfOrder { .. } => "slice/out-of-order",
        SliceProblem::OtherStream => "slice/other-stream",
        SliceProblem::OtherRecipients => "slice/other-recipients",
        SliceProblem::NotASlice => "slice/not-a-slice",
        SliceProblem::Size { .. } => "slice/size",
        SliceProblem::CutOff => "slice/cut-off",
        SliceProblem::NotLast => "slice/not-last",
        SliceProblem::GoesOn => "slice/goes-on",
        SliceProblem::Empty => "slice/empty",
        other => panic!("a slice's problem without a name here: {other:?}"),
    }
}
