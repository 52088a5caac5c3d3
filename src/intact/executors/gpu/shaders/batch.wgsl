// include words.wgsl
// The bindings of every shader: parameters of the dispatch, the uploaded step, the rows of all buffers, and the model's
// vectors. A row has `row_words` words; its part in a buffer starts at the buffer's offset, two words an element where
// the buffer is wide.
struct Batch {
    rows: u32,
    wanted: u32,
    row_words: u32,
    tokens: u32,    // offsets in `data`: the token of each row
    positions: u32, // its position
    slots: u32,     // page * page size + slot, where its keys and values go
    texts: u32,     // five words, see attend.wgsl
    adapters: u32,  // its adapter's number plus 1, 0 for none
    second: u32,    // 1 if a separator precedes it
    heads: u32,     // the rows whose logits are wanted
    pages: u32,     // pages of all sequences
    angles: u32,    // sine and cosine of each row and frequency, for each rotation
    scores: u32,    // positions of scratch for the scores of a head
    data: array<u32>,
}
@group(0) @binding(0) var<storage, read> par: Parameters;
@group(0) @binding(1) var<storage, read> batch: Batch;
@group(0) @binding(2) var<storage, read_write> rows: array<u32>;
@group(0) @binding(3) var<storage, read> vectors: array<u32>;

fn element(at: u32, k: u32, is_wide: u32) -> W {
    if (is_wide == 0u) { return wide(i32(rows[at + k])); }
    return W(rows[at + 2u * k], rows[at + 2u * k + 1u]);
}
fn put(at: u32, k: u32, is_wide: u32, v: W) { // a narrow element saturates
    if (is_wide == 0u) {
        rows[at + k] = u32(sat32(v));
    } else {
        rows[at + 2u * k] = v.x;
        rows[at + 2u * k + 1u] = v.y;
    }
}
fn vector_word(at: u32, k: u32) -> i32 { return i32(vectors[at + k]); }
fn vector_wide(at: u32, k: u32) -> W { return W(vectors[at + 2u * k], vectors[at + 2u * k + 1u]); }
