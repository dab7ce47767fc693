//! Any bytes as a receipt, as its text, and as a text that the signer has signed. Checked: no panic;
//! what is accepted is written again byte for byte; signed, it is accepted as the receipt of the
//! backup that it names, and of no other.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use offsite::cms::signed_data::SigningKey;
use offsite::names::SetName;
use offsite::receipt::{Error, Receipt, open};
use offsite_fuzz::P256_PEM;

/// The signer that the corpus's receipts name.
static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::from_file(P256_PEM).expect("the test key is valid"));

fuzz_target!(|data: &[u8]| {
    let (host, set) = ("web-1".parse().expect("a name"), "default".parse().expect("a name"));
    let backup = "20261123T074500Z-7f3a9c01".parse().expect("an id");
    let _ = open(data, &host, &set, backup);

    let Ok(receipt) = Receipt::parse(data) else { return };
    match receipt.encode() {
        Ok(again) => assert_eq!(again, data, "a receipt has another text"),
        // Only the form is read: a writer, and whoever opens it, looks at the times as well.
        Err(Error::Times(_)) => {}
        Err(error) => panic!("what is read cannot be written: {error}"),
    }
    let message = KEY.sign(data).expect("signing works");
    let (host, set, backup) = (&receipt.host, &receipt.set, receipt.backup);
    match open(&message, host, set, backup) {
        Ok(opened) => {
            assert_eq!(opened, receipt);
            let other: SetName = format!("_{}", &set.as_str()[1..]).parse().expect("a name");
            assert!(other == *set || open(&message, host, &other, backup).is_err(), "it is of another set, too");
        }
        Err(Error::OtherSigner) => assert!(receipt.signer != *KEY.certificate()),
        Err(Error::Times(_)) => {}
        Err(error) => panic!("signed, it is refused: {error}"),
    }
});
