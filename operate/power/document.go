package power

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/k8snode/k8snode/internal/report"
	"github.com/k8snode/k8snode/internal/strictyaml"
)

// The document's type.
const (
	APIVersion = "k8snode.io/v1alpha1"
	Kind       = "Controllers"
)

// A Document says by what each machine is switched on and off. Of passwords it has
// the names of files.
type Document struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`
	Spec       Spec   `yaml:"spec"`
}

// Spec is the document.
type Spec struct {
	Nodes []Entry `yaml:"nodes"`
}

// An Entry is the controller of one machine; exactly one of the kinds is set.
type Entry struct {
	// Name is the node's.
	Name    string        `yaml:"name"`
	Redfish *RedfishEntry `yaml:"redfish"`
	IPMI    *IPMIEntry    `yaml:"ipmi"`
	// Command is a program, relative to the document if it has a slash, with its
	// arguments.
	Command []string `yaml:"command"`
}

// A RedfishEntry is a controller that speaks Redfish.
type RedfishEntry struct {
	URL  string `yaml:"url"`
	User string `yaml:"user"`
	// PasswordFile is relative to the document.
	PasswordFile string `yaml:"passwordFile"`
	// CA is a PEM file with the authority that signed the controller's certificate,
	// relative to the document.
	CA string `yaml:"ca"`
	// CertificateSHA256 is the digest of the controller's certificate, in hexadecimal
	// digits with or without colons: for those that sign their own.
	CertificateSHA256 string `yaml:"certificateSHA256"`
}

// An IPMIEntry is a controller that ipmitool speaks to.
type IPMIEntry struct {
	Address      string `yaml:"address"`
	User         string `yaml:"user"`
	PasswordFile string `yaml:"passwordFile"`
	// CipherSuite is 3 or 17, by default what the controller says when it is asked.
	CipherSuite int `yaml:"cipherSuite"`
}

// Parse reads a document. The error is a [report.Problems] with all that is wrong.
func Parse(file string, data []byte) (Document, error) {
	return strictyaml.Schema[Document]{
		APIVersion: APIVersion, Kind: Kind,
		Default:  func(d Document) Document { return d },
		Validate: Document.Validate,
	}.Parse(file, data)
}

// Validate returns all that is wrong with a document.
func (d Document) Validate() report.Problems {
	var problems report.Problems
	nodes := report.Path("spec").Field("nodes")
	add := func(at report.Path, message, remedy string) {
		problems = append(problems, report.Problem{Path: at, Message: message, Remedy: remedy})
	}
	if len(d.Spec.Nodes) == 0 {
		add(nodes, "there are no machines", "list one: {name: cp1, redfish: {…}}")
	}
	for i, e := range d.Spec.Nodes {
		at := nodes.Index(i)
		if e.Name == "" {
			add(at.Field("name"), "a machine without a name", "write the node's, as in the cluster document")
		}
		if first := slices.IndexFunc(d.Spec.Nodes, func(o Entry) bool { return o.Name == e.Name }); first < i && e.Name != "" {
			add(at.Field("name"), fmt.Sprintf("%q is there twice", e.Name), "remove one")
		}
		kinds := 0
		for _, set := range []bool{e.Redfish != nil, e.IPMI != nil, len(e.Command) > 0} {
			if set {
				kinds++
			}
		}
		if kinds != 1 {
			add(at, fmt.Sprintf("the machine has %d controllers", kinds), "use one of redfish, ipmi and command")
		}
		if e.Redfish != nil {
			problems = append(problems, e.Redfish.validate(at.Field("redfish"))...)
		}
		if e.IPMI != nil {
			problems = append(problems, e.IPMI.validate(at.Field("ipmi"))...)
		}
	}
	return problems
}

func (e RedfishEntry) validate(at report.Path) report.Problems {
	var problems report.Problems
	add := func(field, message, remedy string) {
		problems = append(problems, report.Problem{Path: at.Field(field), Message: message, Remedy: remedy})
	}
	if _, err := NewRedfish(RedfishOptions{URL: e.URL}); err != nil {
		add("url", fmt.Sprintf("%q is not the URL of a controller", e.URL), "write https://HOST, and for one of several systems its path")
	}
	if e.PasswordFile == "" {
		add("passwordFile", "there is no password", "name a file that has it, with mode 0600")
	}
	if e.CertificateSHA256 != "" {
		if _, ok := readDigest(e.CertificateSHA256); !ok {
			add("certificateSHA256", "it is not a SHA-256 in hexadecimal", "openssl x509 -noout -fingerprint -sha256 prints it")
		}
		if e.CA != "" {
			add("ca", "certificateSHA256 says already which certificate is right", "remove one of them")
		}
	}
	return problems
}

func (e IPMIEntry) validate(at report.Path) report.Problems {
	var problems report.Problems
	if e.Address == "" || strings.HasPrefix(e.Address, "-") || strings.ContainsAny(e.Address, " /") {
		problems = append(problems, report.Problem{Path: at.Field("address"), Message: fmt.Sprintf("%q is not HOST or HOST:PORT", e.Address)})
	}
	if e.User == "" || strings.HasPrefix(e.User, "-") {
		problems = append(problems, report.Problem{Path: at.Field("user"), Message: fmt.Sprintf("%q is not the name of a user", e.User)})
	}
	if e.CipherSuite != 0 && e.CipherSuite != 3 && e.CipherSuite != 17 {
		problems = append(problems, report.Problem{Path: at.Field("cipherSuite"), Message: fmt.Sprintf("%d is neither 3 nor 17", e.CipherSuite), Remedy: "leave it out, or see ipmitool lan print"})
	}
	if e.PasswordFile == "" {
		problems = append(problems, report.Problem{Path: at.Field("passwordFile"), Message: "there is no password", Remedy: "name a file that has it, with mode 0600"})
	}
	return problems
}

func readDigest(text string) ([]byte, bool) {
	b, err := hex.DecodeString(strings.ReplaceAll(text, ":", ""))
	return b, err == nil && len(b) == sha256.Size
}

// OpenOptions say where things are.
type OpenOptions struct {
	// Dir is the document's folder.
	Dir string
	// Environ is that of the programs that are run.
	Environ []string
}

// Open returns the controller of a node.
func (d Document) Open(node string, opts OpenOptions) (Controller, error) {
	i := slices.IndexFunc(d.Spec.Nodes, func(e Entry) bool { return e.Name == node })
	if i < 0 {
		return nil, fmt.Errorf("opening the controller of %s: the document has none for it", node)
	}
	c, err := d.Spec.Nodes[i].open(opts)
	if err != nil {
		return nil, fmt.Errorf("opening the controller of %s: %w", node, err)
	}
	return c, nil
}

func (e Entry) open(opts OpenOptions) (Controller, error) {
	switch {
	case e.Redfish != nil:
		password, err := readPassword(opts.path(e.Redfish.PasswordFile))
		if err != nil {
			return nil, err
		}
		config, err := e.Redfish.tls(opts)
		if err != nil {
			return nil, err
		}
		return NewRedfish(RedfishOptions{URL: e.Redfish.URL, User: e.Redfish.User, Password: password, TLS: config})
	case e.IPMI != nil:
		password, err := readPassword(opts.path(e.IPMI.PasswordFile))
		if err != nil {
			return nil, err
		}
		return IPMI{Address: e.IPMI.Address, User: e.IPMI.User, Password: password, CipherSuite: e.IPMI.CipherSuite, Environ: opts.Environ}, nil
	}
	args := slices.Clone(e.Command)
	if strings.Contains(args[0], "/") {
		// Absolute: a name without a slash would be looked up elsewhere.
		program, err := filepath.Abs(opts.path(args[0]))
		if err != nil {
			return nil, err
		}
		args[0] = program
	}
	return Command{Node: e.Name, Args: args, Environ: opts.Environ}, nil
}

func (o OpenOptions) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(o.Dir, name)
}

// readPassword reads the first line of a file that nobody else can read.
func readPassword(file string) (string, error) {
	info, err := os.Stat(file)
	if err != nil {
		return "", fmt.Errorf("reading a password: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return "", fmt.Errorf("reading a password: %s has the mode %04o, so others can read it: chmod 600 %s", file, mode, file)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("reading a password: %w", err)
	}
	password, _, _ := strings.Cut(string(content), "\n")
	if password = strings.TrimSuffix(password, "\r"); password == "" {
		return "", fmt.Errorf("reading a password: the first line of %s is empty", file)
	}
	return password, nil
}

func (e RedfishEntry) tls(opts OpenOptions) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if e.CA != "" {
		pem, err := os.ReadFile(opts.path(e.CA))
		if err != nil {
			return nil, fmt.Errorf("reading the authority of a controller: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("reading the authority of a controller: %s holds no certificate", e.CA)
		}
	}
	if want, ok := readDigest(e.CertificateSHA256); ok {
		// The digest says more than a name that such a certificate was never for.
		config.InsecureSkipVerify = true
		config.VerifyConnection = func(s tls.ConnectionState) error {
			sum := sha256.Sum256(s.PeerCertificates[0].Raw)
			if subtle.ConstantTimeCompare(sum[:], want) == 0 {
				return fmt.Errorf("%w: it is %x", errPin, sum)
			}
			return nil
		}
	}
	return config, nil
}
