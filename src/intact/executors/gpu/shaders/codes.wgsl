// Codes of weights in panels of 16 outputs (native/runtime/weight.h), and products of four bytes. BITS and BLOCK are the
// format's, TABLE says whether it has one: 0 no, 1 of entries that fit signed bytes once the zero is subtracted, 2 of
// larger ones.
@group(0) @binding(4) var<storage, read> codes: array<u32>;
@group(0) @binding(5) var<storage, read> numbers: array<u32>; // scales, minima: [panel][pair][16], two int16; exponents: [output][2]
fn spread(m: u32) -> u32 { return (m * 0x204081u) & 0x01010101u; } // bits 0 to 3 to bytes 0 to 3

// Four codes of group g (0 to 7) of a block of 32, of output o of a panel. Without a table, codes of 8 bits are made
// signed by subtracting 128.
fn group_codes(block: u32, g: u32, o: u32) -> u32 {
    if (BITS == 8u) { return codes[block + g * 16u + o] ^ select(0u, 0x80808080u, TABLE == 0u); }
    if (BITS >= 4u) {
        var c = (codes[block + (g >> 1u) * 16u + o] >> (4u * (g & 1u))) & 0x0f0f0f0fu;
        if (BITS == 5u) { c |= spread((codes[block + 64u + 2u * g + (o >> 3u)] >> (4u * (o & 7u))) & 15u) << 4u; }
        if (BITS == 6u) { c |= ((codes[block + 64u + (g >> 2u) * 16u + o] >> (2u * (g & 3u))) & 0x03030303u) << 4u; }
        return c;
    }
    var c = (codes[block + (g >> 2u) * 16u + o] >> (2u * (g & 3u))) & 0x03030303u;
    if (BITS == 3u) { c |= spread((codes[block + 32u + 2u * g + (o >> 3u)] >> (4u * (o & 7u))) & 15u) << 2u; }
    return c;
}
fn low_half(w: u32) -> i32 { return i32(w << 16u) >> 16u; }
fn high_half(w: u32) -> i32 { return i32(w) >> 16u; }
fn half_of(w: u32, which: u32) -> i32 { return select(low_half(w), high_half(w), (which & 1u) == 1u); }

// Three ways to the same integer. DOT 0: a packed product, one instruction where the device has it. 1: plain integers.
// 2: floats; all their partial sums are integers below 2^24, so no order or contraction changes them.
fn dot4(a: u32, b: u32) -> i32 {
    if (DOT == 1u) {
        let p = unpack4xI8(a) * unpack4xI8(b);
        return p.x + p.y + p.z + p.w;
    }
    if (DOT == 2u) { return i32(dot(vec4<f32>(unpack4xI8(a)), vec4<f32>(unpack4xI8(b)))); }
    return dot4I8Packed(a, b);
}
