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
@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) g: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    let p = par.move_slots;
    for (var k = 0u; k < batch.rows; k++) {
        let source = batch.data[batch.slots + k];
        let goal = batch.data[batch.texts + k];
        let a = source % p.page;
        let b = goal % p.page;
        let old = head_of(p, source, g.x);
        let new_head = head_of(p, goal, g.x);
        for (var d = i; d < p.padded / 2u; d += LANES) {
            cache[new_head + (b >> 4u) * (8u * p.padded) + d * 16u + (b & 15u)] =
                cache[old + (a >> 4u) * (8u * p.padded) + d * 16u + (a & 15u)];
        }
        let values = p.page * p.padded / 2u;
        for (var d = i; d < p.padded; d += LANES) {
            let value = extractBits(cache[old + values + (a >> 2u) * p.padded + d], 8u * (a & 3u), 8u);
            let at = new_head + values + (b >> 2u) * p.padded + d;
            cache[at] = insertBits(cache[at], value, 8u * (b & 3u), 8u);
        }
        let scales = 3u * p.page * p.padded / 4u;
        for (var which = i; which < 2u; which += LANES) {
            cache[new_head + scales + which * p.page + b] = cache[old + scales + which * p.page + a];
        }
    }
}
