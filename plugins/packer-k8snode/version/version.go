// Package version is that of the plugin.
package version

import "github.com/hashicorp/packer-plugin-sdk/version"

// Set by the linker for a release. Packer refuses a prerelease that is not
// "dev".
//
//nolint:gochecknoglobals // the linker sets nothing else
var (
	number     = "0.1.0"
	prerelease = "dev"
)

// Plugin returns the version as Packer reads it.
func Plugin() *version.PluginVersion { return version.NewPluginVersion(number, prerelease, "") }
