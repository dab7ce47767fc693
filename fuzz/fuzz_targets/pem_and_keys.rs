//! Any bytes as a file of keys and certificates. Checked: no panic, no hang; a passphrase is needed
//! exactly where the file says so; a certificate that is read survives being written.

#![no_main]

use libfuzzer_sys::fuzz_target;
use offsite_cms::{Certificate, Error, KeyError, KeyFile};

/// What the corpus's keys are protected by.
const PASSPHRASE: &[u8] = b"test";

fuzz_target!(|data: &[u8]| {
    if let Ok(file) = KeyFile::read(data) {
        let without = file.unlock(None);
        if file.needs_passphrase() {
            assert!(without.is_err(), "a protected key opens without its passphrase");
            let _ = file.unlock(Some(PASSPHRASE));
        } else {
            let asks = matches!(without, Err(Error::Key(KeyError::PassphraseNeeded)));
            assert!(!asks, "a passphrase is wanted for a key without protection");
        }
    }
    let all = Certificate::all_from_file(data);
    if let Ok(certificate) = Certificate::from_file(data) {
        check(&certificate);
    }
    all.iter().flatten().for_each(check);
});

fn check(certificate: &Certificate) {
    let _ = (certificate.name(), certificate.key_kind(), certificate.issuer_and_serial_name());
    let again = Certificate::from_file(certificate.to_pem().as_bytes()).expect("a certificate's PEM is valid");
    assert_eq!(again, *certificate);
}
