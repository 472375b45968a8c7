import { run } from "./run.ts";

/** A private key and a certificate that it signed itself, PEM. */
export interface Certificate {
  readonly key: string;
  readonly cert: string;
}

/** A certificate for `localhost` and `127.0.0.1` that holds for 30 days. `openssl` is the path of that program. */
export async function selfSignedCertificate(openssl: string): Promise<Certificate> {
  const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
  const kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30"];
  const pem = await run([openssl, "req", "-x509", ...kind, ...subject, "-keyout", "-", "-out", "-"]);
  const [key, cert] = ["PRIVATE KEY", "CERTIFICATE"].map(
    (label) => new RegExp(`-----BEGIN ${label}-----[^]*?-----END ${label}-----\n`).exec(pem)?.[0],
  );
  if (key === undefined || cert === undefined) throw new Error(`openssl wrote no certificate: ${pem}`);
  return { key, cert };
}
