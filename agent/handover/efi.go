package handover

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/k8snode/k8snode/agent/disk"
)

// Folders of the kernel's view of UEFI. The variables below are those of the vendor
// EFI_GLOBAL_VARIABLE.
const (
	efiDir  = "/sys/firmware/efi"
	varsDir = efiDir + "/efivars"
	global  = "-8be4df61-93ca-11d2-aa0d-00e098032b8c"
)

// bootPath is where firmware looks for what to start on a disk.
const bootPath = `\EFI\BOOT\BOOTX64.EFI`

// Attributes of a variable that is kept, and that the operating system may see.
const nonVolatile = 0x7

// Numbers of UEFI 2.10: sections 3.1.3, 10.3.5 and 10.3.6.
const (
	optionActive = 1
	mediaType    = 4
	hardDrive    = 1
	filePath     = 4
	endType      = 0x7f
	endWhole     = 0xff
	formatGPT    = 2
	signatureID  = 2
)

// The description of our boot option says when it was written.
const (
	describedAs  = "k8snode, started "
	describeTime = time.DateTime
)

// retryAfter is how long ago the firmware may have been told and not obey.
const retryAfter = 10 * time.Minute

// bootNext makes the disk the one that the firmware starts next, once.
func (o Options) bootNext(ctx context.Context, d installed) error {
	if err := o.tellFirmware(ctx, d); err != nil {
		return fmt.Errorf("telling the firmware to start %s: %w", d.disk.Path, err)
	}
	return nil
}

func (o Options) tellFirmware(ctx context.Context, d installed) error {
	dir := o.path(varsDir)
	// It is mounted already where the module was there in time.
	if names, err := os.ReadDir(dir); err != nil || len(names) == 0 {
		if err := o.Runner.Run(ctx, nil, "mount", "-t", "efivarfs", "efivarfs", dir); err != nil {
			return err
		}
	}
	number, last, err := place(dir)
	if err != nil {
		return err
	}
	if age := o.Now.Sub(last); age >= 0 && age < retryAfter {
		return fmt.Errorf("it was told %v ago, and started something else", age.Round(time.Second))
	}
	option := loadOption(describedAs+o.Now.UTC().Format(describeTime), d.esp, d.disk.LogicalSector)
	if err := writeVar(dir, fmt.Sprintf("Boot%04X", number), option); err != nil {
		return err
	}
	return writeVar(dir, "BootNext", binary.LittleEndian.AppendUint16(nil, number))
}

// place returns the number of our boot option and when it was written, or one that is
// free.
func place(dir string) (number uint16, last time.Time, err error) {
	files, err := filepath.Glob(filepath.Join(dir, "Boot[0-9A-F][0-9A-F][0-9A-F][0-9A-F]"+global))
	if err != nil {
		return 0, time.Time{}, err
	}
	var used []uint16
	for _, file := range files {
		n, err := strconv.ParseUint(filepath.Base(file)[4:8], 16, 16)
		if err != nil {
			continue
		}
		used = append(used, uint16(n))
		b, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) || len(b) < 4 {
			continue
		}
		if err != nil {
			return 0, time.Time{}, err
		}
		when, ok := strings.CutPrefix(description(b[4:]), describedAs)
		if last, err := time.Parse(describeTime, when); ok && err == nil {
			return uint16(n), last, nil
		}
	}
	for n := range uint16(0xffff) {
		if !slices.Contains(used, n) {
			return n, time.Time{}, nil
		}
	}
	return 0, time.Time{}, errors.New("the firmware has no boot option left")
}

// writeVar writes a variable; efivarfs takes it by one write.
func writeVar(dir, name string, value []byte) error {
	f, err := os.OpenFile(filepath.Join(dir, name+global), os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(append(binary.LittleEndian.AppendUint32(nil, nonVolatile), value...))
	return errors.Join(err, f.Close())
}

// loadOption is an EFI_LOAD_OPTION for the boot program of a disk, which firmware
// finds by the GUID of the partition, wherever the disk is plugged in.
func loadOption(described string, esp disk.Partition, sector int) []byte {
	le := binary.LittleEndian
	drive := le.AppendUint32(nil, uint32(esp.Number))
	drive = le.AppendUint64(drive, uint64(esp.Start/int64(sector)))
	drive = le.AppendUint64(drive, uint64(esp.Size/int64(sector)))
	drive = append(append(drive, mixedEndian(esp.GUID)...), formatGPT, signatureID)
	path := slices.Concat(
		pathNode(mediaType, hardDrive, drive),
		pathNode(mediaType, filePath, wide(bootPath)),
		pathNode(endType, endWhole, nil),
	)
	option := le.AppendUint32(nil, optionActive)
	option = le.AppendUint16(option, uint16(len(path)))
	return slices.Concat(option, wide(described), path)
}

func pathNode(kind, sub byte, data []byte) []byte {
	return append(binary.LittleEndian.AppendUint16([]byte{kind, sub}, uint16(4+len(data))), data...)
}

// wide is UTF-16LE with a zero at its end.
func wide(s string) []byte {
	var b []byte
	for _, unit := range append(utf16.Encode([]rune(s)), 0) {
		b = binary.LittleEndian.AppendUint16(b, unit)
	}
	return b
}

// description returns that of an EFI_LOAD_OPTION; empty for what is none.
func description(option []byte) string {
	if len(option) < 6 {
		return ""
	}
	var units []uint16
	for text := option[6:]; len(text) >= 2; text = text[2:] {
		unit := binary.LittleEndian.Uint16(text)
		if unit == 0 {
			return string(utf16.Decode(units))
		}
		units = append(units, unit)
	}
	return ""
}

// mixedEndian is a GUID as UEFI stores it.
func mixedEndian(guid string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(guid, "-", ""))
	if err != nil || len(b) != 16 {
		return make([]byte, 16)
	}
	slices.Reverse(b[0:4])
	slices.Reverse(b[4:6])
	slices.Reverse(b[6:8])
	return bytes.Clone(b)
}
