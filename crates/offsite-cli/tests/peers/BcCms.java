import java.io.FileInputStream;
import java.io.FileReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.PrivateKey;
import java.security.Security;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.interfaces.ECPublicKey;
import java.security.spec.MGF1ParameterSpec;
import java.util.Arrays;
import java.util.List;
import javax.crypto.spec.OAEPParameterSpec;
import javax.crypto.spec.PSource;
import org.bouncycastle.asn1.ASN1Encoding;
import org.bouncycastle.asn1.ASN1ObjectIdentifier;
import org.bouncycastle.asn1.cms.CMSObjectIdentifiers;
import org.bouncycastle.asn1.cms.ContentInfo;
import org.bouncycastle.asn1.pkcs.PKCSObjectIdentifiers;
import org.bouncycastle.asn1.pkcs.PrivateKeyInfo;
import org.bouncycastle.asn1.x509.AlgorithmIdentifier;
import org.bouncycastle.cms.CMSAlgorithm;
import org.bouncycastle.cms.CMSAuthEnvelopedData;
import org.bouncycastle.cms.CMSAuthEnvelopedDataGenerator;
import org.bouncycastle.cms.CMSEnvelopedData;
import org.bouncycastle.cms.CMSEnvelopedDataGenerator;
import org.bouncycastle.cms.CMSProcessableByteArray;
import org.bouncycastle.cms.Recipient;
import org.bouncycastle.cms.RecipientInfoGenerator;
import org.bouncycastle.cms.RecipientInformation;
import org.bouncycastle.cms.RecipientInformationStore;
import org.bouncycastle.cms.jcajce.JceCMSContentEncryptorBuilder;
import org.bouncycastle.cms.jcajce.JceKeyAgreeEnvelopedRecipient;
import org.bouncycastle.cms.jcajce.JceKeyAgreeRecipientId;
import org.bouncycastle.cms.jcajce.JceKeyAgreeRecipientInfoGenerator;
import org.bouncycastle.cms.jcajce.JceKeyTransEnvelopedRecipient;
import org.bouncycastle.cms.jcajce.JceKeyTransRecipientId;
import org.bouncycastle.cms.jcajce.JceKeyTransRecipientInfoGenerator;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.openssl.PEMKeyPair;
import org.bouncycastle.openssl.PEMParser;
import org.bouncycastle.openssl.jcajce.JcaPEMKeyConverter;
import org.bouncycastle.operator.OutputAEADEncryptor;
import org.bouncycastle.operator.OutputEncryptor;
import org.bouncycastle.operator.jcajce.JcaAlgorithmParametersConverter;

/** Encrypts and decrypts CMS messages with Bouncy Castle. */
public final class BcCms {
    private static final String USAGE = """
            usage: BcCms encrypt auth|enveloped CIPHER KEYTRANS der|ber CERT.pem... IN OUT
                   BcCms decrypt KEY.pem CERT.pem IN OUT
            CIPHER   aes128-gcm aes256-gcm (auth), aes128-cbc aes256-cbc (enveloped)
            KEYTRANS pkcs1 oaep-sha1 oaep-sha256 oaep-sha384 oaep-sha512 (RSA)
                     ecdh-sha1 ecdh-sha256 ecdh-sha384 ecdh-sha512 (EC)""";

    public static void main(String[] args) throws Exception {
        Security.addProvider(new BouncyCastleProvider());
        if (args.length >= 8 && args[0].equals("encrypt")) {
            List<String> certificates = Arrays.asList(args).subList(5, args.length - 2);
            byte[] plain = Files.readAllBytes(Path.of(args[args.length - 2]));
            byte[] message = encrypt(args[1], args[2], args[3], args[4], certificates, plain);
            Files.write(Path.of(args[args.length - 1]), message);
        } else if (args.length == 5 && args[0].equals("decrypt")) {
            byte[] message = Files.readAllBytes(Path.of(args[3]));
            byte[] plain = decrypt(privateKey(args[1]), certificate(args[2]), message);
            Files.write(Path.of(args[4]), plain);
        } else {
            System.err.println(USAGE);
            System.exit(2);
        }
    }

    private static byte[] encrypt(String kind, String cipher, String keyTransport, String encoding,
            List<String> certificates, byte[] plain) throws Exception {
        OutputEncryptor encryptor = new JceCMSContentEncryptorBuilder(switch (cipher) {
            case "aes128-gcm" -> CMSAlgorithm.AES128_GCM;
            case "aes256-gcm" -> CMSAlgorithm.AES256_GCM;
            case "aes128-cbc" -> CMSAlgorithm.AES128_CBC;
            case "aes256-cbc" -> CMSAlgorithm.AES256_CBC;
            default -> throw new IllegalArgumentException("cipher " + cipher);
        }).setProvider("BC").build();
        RecipientInfoGenerator[] recipients = new RecipientInfoGenerator[certificates.size()];
        for (int i = 0; i < recipients.length; i++) {
            recipients[i] = recipient(keyTransport, certificate(certificates.get(i)));
        }
        String rules = switch (encoding) {
            case "der" -> ASN1Encoding.DER;
            case "ber" -> ASN1Encoding.BER;
            default -> throw new IllegalArgumentException("encoding " + encoding);
        };
        CMSProcessableByteArray content = new CMSProcessableByteArray(plain);
        switch (kind) {
            case "auth" -> {
                var generator = new CMSAuthEnvelopedDataGenerator();
                Arrays.stream(recipients).forEach(generator::addRecipientInfoGenerator);
                return generator.generate(content, (OutputAEADEncryptor) encryptor)
                        .toASN1Structure().getEncoded(rules);
            }
            case "enveloped" -> {
                var generator = new CMSEnvelopedDataGenerator();
                Arrays.stream(recipients).forEach(generator::addRecipientInfoGenerator);
                return generator.generate(content, encryptor).toASN1Structure().getEncoded(rules);
            }
            default -> throw new IllegalArgumentException("kind " + kind);
        }
    }

    private static RecipientInfoGenerator recipient(String keyTransport, X509Certificate certificate)
            throws Exception {
        return switch (keyTransport) {
            case "pkcs1" -> new JceKeyTransRecipientInfoGenerator(certificate).setProvider("BC");
            case "oaep-sha1" -> oaep(certificate, "SHA-1");
            case "oaep-sha256" -> oaep(certificate, "SHA-256");
            case "oaep-sha384" -> oaep(certificate, "SHA-384");
            case "oaep-sha512" -> oaep(certificate, "SHA-512");
            case "ecdh-sha1" -> ecdh(certificate, CMSAlgorithm.ECDH_SHA1KDF);
            case "ecdh-sha256" -> ecdh(certificate, CMSAlgorithm.ECDH_SHA256KDF);
            case "ecdh-sha384" -> ecdh(certificate, CMSAlgorithm.ECDH_SHA384KDF);
            case "ecdh-sha512" -> ecdh(certificate, CMSAlgorithm.ECDH_SHA512KDF);
            default -> throw new IllegalArgumentException("key transport " + keyTransport);
        };
    }

    private static RecipientInfoGenerator oaep(X509Certificate certificate, String hash) throws Exception {
        AlgorithmIdentifier algorithm = new JcaAlgorithmParametersConverter().getAlgorithmIdentifier(
                PKCSObjectIdentifiers.id_RSAES_OAEP,
                new OAEPParameterSpec(hash, "MGF1", new MGF1ParameterSpec(hash), PSource.PSpecified.DEFAULT));
        return new JceKeyTransRecipientInfoGenerator(certificate, algorithm).setProvider("BC");
    }

    private static RecipientInfoGenerator ecdh(X509Certificate certificate, ASN1ObjectIdentifier scheme)
            throws Exception {
        KeyPairGenerator generator = KeyPairGenerator.getInstance("EC", "BC");
        generator.initialize(((ECPublicKey) certificate.getPublicKey()).getParams());
        KeyPair ephemeral = generator.generateKeyPair();
        return new JceKeyAgreeRecipientInfoGenerator(
                scheme, ephemeral.getPrivate(), ephemeral.getPublic(), CMSAlgorithm.AES256_WRAP)
                .addRecipient(certificate).setProvider("BC");
    }

    private static byte[] decrypt(PrivateKey key, X509Certificate certificate, byte[] message) throws Exception {
        boolean authenticated = ContentInfo.getInstance(message).getContentType()
                .equals(CMSObjectIdentifiers.authEnvelopedData);
        RecipientInformationStore recipients = authenticated
                ? new CMSAuthEnvelopedData(message).getRecipientInfos()
                : new CMSEnvelopedData(message).getRecipientInfos();
        boolean agreement = certificate.getPublicKey() instanceof ECPublicKey;
        RecipientInformation mine = recipients.get(agreement
                ? new JceKeyAgreeRecipientId(certificate)
                : new JceKeyTransRecipientId(certificate));
        if (mine == null) {
            throw new IllegalArgumentException("the message is not for this certificate");
        }
        // For AuthEnvelopedData the tag follows the content in the stream that these are given,
        // so they check it: the recipients for EnvelopedData serve both kinds.
        Recipient opener = agreement
                ? new JceKeyAgreeEnvelopedRecipient(key).setProvider("BC")
                : new JceKeyTransEnvelopedRecipient(key).setProvider("BC");
        return mine.getContent(opener);
    }

    private static X509Certificate certificate(String path) throws Exception {
        try (FileInputStream in = new FileInputStream(path)) {
            // BC's own classes, so that its provider meets its own kinds of key.
            return (X509Certificate) CertificateFactory.getInstance("X.509", "BC").generateCertificate(in);
        }
    }

    private static PrivateKey privateKey(String path) throws Exception {
        try (PEMParser pem = new PEMParser(new FileReader(path))) {
            for (Object object = pem.readObject(); object != null; object = pem.readObject()) {
                if (object instanceof PrivateKeyInfo info) {
                    return new JcaPEMKeyConverter().setProvider("BC").getPrivateKey(info);
                }
                if (object instanceof PEMKeyPair pair) {
                    return new JcaPEMKeyConverter().setProvider("BC").getKeyPair(pair).getPrivate();
                }
            }
        }
        throw new IllegalArgumentException("no private key in " + path);
    }

    private BcCms() {}
}
