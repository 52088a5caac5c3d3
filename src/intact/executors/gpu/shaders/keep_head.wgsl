// include batch.wgsl
// include functions.wgsl
// include reduce.wgsl
// Section 7: a head's key and value into its page. For each KV head, a page of a layer has keys, int16
// [size / 16][width / 2][16][2], values, int8 [size / 4][width][4], and the scales of both, int32 [size] (the layout
// "native 1", whose heads are padded to a multiple of 16).
struct Keep {
    key: u32,
    value: u32,
    kv_heads: u32,
    width: u32,
    padded: u32,
    page: u32, // positions of a page
}
@group(0) @binding(4) var<storage, read_write> cache: array<atomic<u32>>;
fn scale_of(top: u32, fraction: u32, most: u32) -> u32 {
    return max(1u, divide(plus(left(W(top, 0u), fraction), W(most - 1u, 0u)), most).x);
}
fn code_of(x: i32, reciprocal: W, drop: i32) -> i32 {
    let v = size32(x);
    var p = mul_u(v, reciprocal.x);
    p.y += v * reciprocal.y;
    if (x < 0) { p = negate(p); }
    return i32(rshift(p, drop).x);
}
fn keep_head(p: Keep, row: u32, head: u32, i: u32) {
    let place = batch.data[batch.slots + row];
    let slot = place % p.page;
    let head_words = p.page * (3u * p.padded / 4u + 2u);
    let base = (place / p.page * p.kv_heads + head) * head_words;
    let scales = base + 3u * p.page * p.padded / 4u;
    let key = row * batch.row_words + p.key + head * p.width;
    let value = row * batch.row_words + p.value + head * p.width;
    var top = vec2<u32>(0u, 0u);
    for (var d = i; d < p.width; d += LANES) {
        top = max(top, vec2<u32>(size32(i32(rows[key + d])), size32(i32(rows[value + d]))));
    }
    top = largest_words(i, top);
    let key_scale = scale_of(top.x, 8u, 2047u);
    let value_scale = scale_of(top.y, 6u, 127u);
    let key_reciprocal = divide(W(0u, 0x1000000u), key_scale); // 2^56 / scale
    let value_reciprocal = divide(W(0u, 0x1000000u), value_scale);
    for (var d = i; d < p.width; d += LANES) {
        let k = u32(code_of(i32(rows[key + d]), key_reciprocal, 48)) & 0xffffu;
        let v = u32(code_of(i32(rows[value + d]), value_reciprocal, 50)) & 0xffu;
        let key_at = base + (slot >> 4u) * (8u * p.padded) + (d >> 1u) * 16u + (slot & 15u);
        let value_at = base + p.page * p.padded / 2u + (slot >> 2u) * p.padded + d;
        let key_bit = 16u * (d & 1u);
        let value_bit = 8u * (slot & 3u);
        atomicAnd(&cache[key_at], ~(0xffffu << key_bit)); // other threads write the other bits of the word
        atomicOr(&cache[key_at], k << key_bit);
        atomicAnd(&cache[value_at], ~(0xffu << value_bit));
        atomicOr(&cache[value_at], v << value_bit);
    }
    if (i == 0u) {
        atomicStore(&cache[scales + slot], key_scale);
        atomicStore(&cache[scales + p.page + slot], value_scale);
    }
}
