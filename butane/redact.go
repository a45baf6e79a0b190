package butane

import "regexp"

// Redacted stands for a secret in a document for review.
const Redacted = "redacted"

// secretPatterns find what nobody but the node may read. The first group of
// each is kept.
var secretPatterns = []*regexp.Regexp{
	regexp.MustCompile(`(?s)(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(?:-----END [A-Z ]*PRIVATE KEY-----)`),
	regexp.MustCompile(`(client-key-data: )\S+`),
	regexp.MustCompile(`(auth_pass )\S+`),
	regexp.MustCompile(`(secret: )\S+`),
	regexp.MustCompile(`("token": ")[^"]*`),
}

// Redact returns the document without private keys, passwords and tokens. It
// can no longer make a node.
func (d Document) Redact() Document {
	files := make([]File, len(d.Storage.Files))
	for i, f := range d.Storage.Files {
		// What everybody on the node may read is no secret.
		if f.Mode&0o007 == 0 {
			for _, pattern := range secretPatterns {
				f.Contents.Inline = pattern.ReplaceAllString(f.Contents.Inline, "${1}"+Redacted)
			}
		}
		files[i] = f
	}
	d.Storage.Files = files
	return d
}
