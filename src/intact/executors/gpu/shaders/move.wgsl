// include batch.wgsl
// Cached slots of a sequence moved towards its front, in order: a KV head a workgroup. `rows` moves have their sources
// at `slots` and their targets at `texts`, as page * page size + slot. A thread has columns of its own, so no barrier is
// needed.
struct Move {
    kv_heads: u32,
    padded: u32,
    page: u32,
}
struct Parameters { move_slots: Move }
@group(0) @binding(4) var<storage, read_write> cache: array<u32>;
fn head_of(p: Move, place: u32, head: u32) -> u32 {
    return (place / p.page * p.kv_heads + head) * (p.page * (3u * p.padded / 4u + 2u));
}
fn move_column(p: Move, c: u32, old: u32, a: u32, fresh: u32, b: u32) { // of slot a to slot b
    let pairs = p.padded / 2u;
    let values = p.page * pairs;
    let scales = 3u * p.page * p.padded / 4u;
    if (c < pairs) {
        cache[fresh + (b >> 4u) * (8u * p.padded) + c * 16u + (b & 15u)] =
            cache[old + (a >> 4u) * (8u * p.padded) + c * 16u + (a & 15u)];
    } else if (c < pairs + p.padded) {
        let d = values + c - pairs;
        let value = extractBits(cache[old + (a >> 2u) * p.padded + d], 8u * (a & 3u), 8u);
        let at = fresh + (b >> 2u) * p.padded + d;
        cache[at] = insertBits(cache[at], value, 8u * (b & 3u), 8u);
    } else {
        let which = scales + (c - pairs - p.padded) * p.page;
        cache[fresh + which + b] = cache[old + which + a];
    }
}
@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) g: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let p = par.move_slots;
    let columns = p.padded / 2u + p.padded + 2u; // pairs of keys, values, both scales
    for (var c = i; c < columns; c += LANES) {
        for (var k = 0u; k < batch.rows; k++) {
            let source = batch.data[batch.slots + k];
            let end = batch.data[batch.texts + k];
            move_column(p, c, head_of(p, source, g.x), source % p.page, head_of(p, end, g.x), end % p.page);
        }
    }
}
