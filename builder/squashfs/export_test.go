package squashfs

// DecodeIndex decodes the index of a layer with that much data and returns what
// encoding it again gives.
func DecodeIndex(b []byte, data uint64) ([]byte, error) {
	x, err := decodeIndex(b, data)
	if err != nil {
		return nil, err
	}
	return x.encode(), nil
}
