//! EnvelopedData, which nothing authenticates: what is decrypted before the damage is released.

use crate::forge::{ENVELOPE, Recipient, cbc, cbc_algorithm, enveloped_data, padded, random};
use crate::keys::{EC, RSA};
use crate::support::der::{Element, octets, tagged};
use crate::support::sample;
use crate::vector::Vector;

const UNIFORM: &str = "wrong private key, or the message was altered";

pub(crate) fn vectors() -> Vec<Vector> {
    let plaintext = sample(100);
    let (cek, iv) = (random::<32>(), random::<16>());
    let message =
        |content: &[u8]| enveloped_data(vec![Recipient::of(RSA).pkcs1_info(&cek)], cbc_algorithm(&iv), content);
    let sealed = |blocks: &[u8]| cbc(&cek, iv, blocks);
    let fails = |name, content: &[u8]| Vector::fails(name, RSA, message(content).encode(), "decryption", UNIFORM);

    let mut padding_of_0 = padded(&plaintext);
    *padding_of_0.last_mut().expect("padding") = 0;
    let mut padding_of_17 = padded(&plaintext);
    *padding_of_17.last_mut().expect("padding") = 17;
    let mut padding_uneven = padded(&plaintext);
    padding_uneven[101] ^= 1;

    let good = message(&sealed(&padded(&plaintext)));
    let mut attributes = good.clone();
    attributes.at(ENVELOPE).children().push(tagged(1, vec![octets(b"")]));
    let mut pieces = good.clone();
    let content = pieces.at(crate::forge::CONTENT);
    let whole = content.contents().clone();
    *content = tagged(0, whole.chunks(7).map(octets).collect());
    let ecdh =
        enveloped_data(vec![Recipient::of(EC).ecdh_info(&cek)], cbc_algorithm(&iv), &sealed(&padded(&plaintext)));
    let trailing = [good.encode(), b"x".to_vec()].concat();
    let mut more = good.clone();
    more.at(ENVELOPE).children().push(Element::Primitive(0x04, vec![1]));

    vec![
        Vector::ok("cbc-good", RSA, good.encode(), &plaintext),
        Vector::ok("cbc-ecdh", EC, ecdh.encode(), &plaintext),
        Vector::ok("cbc-in-pieces", RSA, pieces.encode_indefinite(), &plaintext).comment("pieces of seven bytes"),
        Vector::ok("cbc-unprotected-attributes", RSA, attributes.encode(), &plaintext),
        fails("cbc-padding-of-0", &sealed(&padding_of_0)).after(&plaintext[..96]),
        fails("cbc-padding-of-17", &sealed(&padding_of_17)).after(&plaintext[..96]),
        fails("cbc-padding-uneven", &sealed(&padding_uneven)).after(&plaintext[..96]),
        fails("cbc-no-padding", &sealed(&plaintext[..96])).after(&plaintext[..80]),
        fails("cbc-no-whole-block", &sealed(&padded(&plaintext))[..15]),
        fails("cbc-no-multiple-of-the-block", &sealed(&padded(&plaintext))[..100]).after(&plaintext[..96]),
        fails("cbc-empty", &[]),
        Vector::fails("cbc-trailing", RSA, trailing, "trailing", "the input goes on").after(&plaintext),
        Vector::fails("cbc-more-fields", RSA, more.encode(), "malformed", "the message").after(&plaintext),
    ]
}
