package sbom

// The part of SPDX 2.3 that is used here, with the field names of its JSON
// schema.

type document struct {
	SPDXVersion       string         `json:"spdxVersion"`
	DataLicense       string         `json:"dataLicense"`
	SPDXID            string         `json:"SPDXID"`
	Name              string         `json:"name"`
	DocumentNamespace string         `json:"documentNamespace"`
	CreationInfo      creationInfo   `json:"creationInfo"`
	Packages          []spdxPackage  `json:"packages"`
	Relationships     []relationship `json:"relationships"`
}

type creationInfo struct {
	Created  string   `json:"created"`
	Creators []string `json:"creators"`
}

type spdxPackage struct {
	SPDXID           string        `json:"SPDXID"`
	Name             string        `json:"name"`
	VersionInfo      string        `json:"versionInfo,omitempty"`
	PrimaryPurpose   string        `json:"primaryPackagePurpose"`
	Supplier         string        `json:"supplier"`
	DownloadLocation string        `json:"downloadLocation"`
	FilesAnalyzed    bool          `json:"filesAnalyzed"`
	Checksums        []checksum    `json:"checksums,omitempty"`
	LicenseConcluded string        `json:"licenseConcluded"`
	LicenseDeclared  string        `json:"licenseDeclared"`
	CopyrightText    string        `json:"copyrightText"`
	ExternalRefs     []externalRef `json:"externalRefs,omitempty"`
	Comment          string        `json:"comment,omitempty"`
}

type checksum struct {
	Algorithm string `json:"algorithm"`
	Value     string `json:"checksumValue"`
}

type externalRef struct {
	Category string `json:"referenceCategory"`
	Type     string `json:"referenceType"`
	Locator  string `json:"referenceLocator"`
	Comment  string `json:"comment,omitempty"`
}

type relationship struct {
	Element string `json:"spdxElementId"`
	Type    string `json:"relationshipType"`
	Related string `json:"relatedSpdxElement"`
}

// Words of the specification.
const (
	spdxVersion  = "SPDX-2.3"
	dataLicense  = "CC0-1.0"
	documentID   = "SPDXRef-DOCUMENT"
	noAssertion  = "NOASSERTION"
	sha256Name   = "SHA256"
	categoryPURL = "PACKAGE-MANAGER"
	typePURL     = "purl"
	categoryOwn  = "OTHER"

	describes     = "DESCRIBES"
	contains      = "CONTAINS"
	generatedFrom = "GENERATED_FROM"
	dependsOn     = "DEPENDS_ON"

	purposeSystem    = "OPERATING-SYSTEM"
	purposeInstall   = "INSTALL"
	purposeSource    = "SOURCE"
	purposeProgram   = "APPLICATION"
	purposeContainer = "CONTAINER"
	purposeFile      = "FILE"
)

// typeSum is the type of the external reference with a hash of go.sum.
const (
	typeSum    = "go-sum"
	commentSum = "the hash of the module in go.sum"
)
