// Check answers for each claim about a transparency log whether it holds, with nothing but Go's own note and
// tlog. It shares no code with what made the claims.
//
// On stdin: a JSON list of claims. On stdout: a JSON list of as many strings, "" for a claim that holds, else why
// it does not. Texts are base64, so that a claim can hold any bytes.
package main

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type claim struct {
	// What holds: "checkpoint", "inclusion", "consistency" or "tiles".
	Kind string
	// Verifier keys that are trusted.
	Keys []string
	// A signed checkpoint.
	Checkpoint []byte
	// Of a log that the one of Checkpoint begins with.
	Older []byte
	// A stored line without its newline.
	Line []byte
	// c2sp.org/tlog-proof@v1
	Proof []byte
	// Of a consistency proof.
	Hashes []string
	// The folder with "tile/".
	Folder string
}

func main() {
	var claims []claim
	if err := json.NewDecoder(os.Stdin).Decode(&claims); err != nil {
		log.Fatal(err)
	}
	answers := make([]string, len(claims))
	for i, c := range claims {
		if err := c.check(); err != nil {
			answers[i] = err.Error()
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(answers); err != nil {
		log.Fatal(err)
	}
}

func (c claim) check() error {
	switch c.Kind {
	case "checkpoint":
		_, err := openCheckpoint(c.Checkpoint, c.Keys)
		return err
	case "inclusion":
		return c.checkInclusion()
	case "consistency":
		return c.checkConsistency()
	case "tiles":
		return c.checkTiles()
	}
	return fmt.Errorf("unknown claim %q", c.Kind)
}

// openCheckpoint is tlog.ParseTree for a log of any name: that one takes the log of Go's modules only.
func openCheckpoint(signed []byte, keys []string) (tlog.Tree, error) {
	var verifiers []note.Verifier
	for _, key := range keys {
		verifier, err := note.NewVerifier(key)
		if err != nil {
			return tlog.Tree{}, err
		}
		verifiers = append(verifiers, verifier)
	}
	opened, err := note.Open(signed, note.VerifierList(verifiers...))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != opened.Sigs[0].Name {
		return tlog.Tree{}, errors.New("malformed checkpoint")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	hash, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: hash}, err
}

func (c claim) checkInclusion() error {
	head, checkpoint, found := strings.Cut(string(c.Proof), "\n\n")
	lines := strings.Split(head, "\n")
	if !found || len(lines) < 2 || lines[0] != "c2sp.org/tlog-proof@v1" || !strings.HasPrefix(lines[1], "index ") {
		return errors.New("malformed proof")
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[1], "index "), 10, 64)
	if err != nil {
		return err
	}
	hashes, err := parseHashes(lines[2:])
	if err != nil {
		return err
	}
	tree, err := openCheckpoint([]byte(checkpoint), c.Keys)
	if err != nil {
		return err
	}
	return tlog.CheckRecord(hashes, tree.N, tree.Hash, index, tlog.RecordHash(c.Line))
}

func (c claim) checkConsistency() error {
	newer, err := openCheckpoint(c.Checkpoint, c.Keys)
	if err != nil {
		return err
	}
	older, err := openCheckpoint(c.Older, c.Keys)
	if err != nil {
		return err
	}
	hashes, err := parseHashes(c.Hashes)
	if err != nil {
		return err
	}
	return tlog.CheckTree(hashes, newer.N, newer.Hash, older.N, older.Hash)
}

// checkTiles reads every leaf hash through Go's reader of tiles, which holds each tile to the checkpoint, and
// holds them to the entries.
func (c claim) checkTiles() error {
	tree, err := openCheckpoint(c.Checkpoint, c.Keys)
	if err != nil {
		return err
	}
	indexes := make([]int64, tree.N)
	for i := range indexes {
		indexes[i] = tlog.StoredHashIndex(0, int64(i))
	}
	hashes, err := tlog.TileHashReader(tree, folderTiles(c.Folder)).ReadHashes(indexes)
	if err != nil {
		return err
	}
	entries, err := c.readEntries(tree.N)
	if err != nil {
		return err
	}
	for i, entry := range entries {
		if tlog.RecordHash(entry) != hashes[i] {
			return fmt.Errorf("entry %d is not the one of its tile", i)
		}
	}
	return nil
}

// readEntries reads the bundles of c2sp.org/tlog-tiles: each entry behind its length in 16 bits, big endian.
func (c claim) readEntries(size int64) ([][]byte, error) {
	var entries [][]byte
	for at := int64(0); at < size; at += tileWidth {
		width := size - at
		if width > tileWidth {
			width = tileWidth
		}
		path := tilePath(tlog.Tile{H: tileHeight, L: 0, N: at / tileWidth, W: int(width)})
		rest, err := os.ReadFile(filepath.Join(c.Folder, strings.Replace(path, "tile/0/", "tile/entries/", 1)))
		if err != nil {
			return nil, err
		}
		for len(rest) >= 2 {
			length := 2 + int(binary.BigEndian.Uint16(rest))
			if length > len(rest) {
				return nil, errors.New("malformed bundle of entries")
			}
			entries, rest = append(entries, rest[2:length]), rest[length:]
		}
		if len(rest) > 0 || int64(len(entries)) != at+width {
			return nil, errors.New("malformed bundle of entries")
		}
	}
	return entries, nil
}

func parseHashes(texts []string) ([]tlog.Hash, error) {
	var hashes []tlog.Hash
	for _, text := range texts {
		decoded, err := base64.StdEncoding.Strict().DecodeString(text)
		if err != nil || len(decoded) != tlog.HashSize {
			return nil, fmt.Errorf("malformed hash %q", text)
		}
		hashes = append(hashes, *(*tlog.Hash)(decoded))
	}
	return hashes, nil
}

const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
)

// tilePath is Go's path of a tile without the height, which c2sp.org/tlog-tiles leaves out.
func tilePath(tile tlog.Tile) string {
	return strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
}

// folderTiles is a folder of tiles, as tlog reads them.
type folderTiles string

func (folder folderTiles) Height() int { return tileHeight }

func (folder folderTiles) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(tiles))
	for i, tile := range tiles {
		read, err := os.ReadFile(filepath.Join(string(folder), tilePath(tile)))
		if err != nil {
			return nil, err
		}
		data[i] = read
	}
	return data, nil
}

func (folder folderTiles) SaveTiles([]tlog.Tile, [][]byte) {}
