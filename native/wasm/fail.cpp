// Errors in WebAssembly, where C++ exceptions cannot be caught: the message of the first error goes to JavaScript,
// which raises it there. The stack is not unwound, so the module must not be called again.
#include <cstdlib>
#include <exception>
#include <new>
#include <typeinfo>

#include "wasm/threads.h"

namespace {

// The layout of type_info for a class with one base, according to the C++ ABI.
struct Derived {
    const void* methods;
    const char* name;
    const std::type_info* base;
};

// If true, the type is std::exception or derives from it by single inheritance; no type of this code has several bases.
bool is_exception(const std::type_info* type) {
    struct A {};
    struct B : A {
        virtual ~B() = default;
    };
    struct C : B {};
    const auto methods = [](const std::type_info& t) { return *reinterpret_cast<const void* const*>(&t); };
    const void* const single = methods(typeid(C));
    for (;;) {
        if (*type == typeid(std::exception)) return true;
        if (methods(*type) != single) return false;
        type = reinterpret_cast<const Derived*>(type)->base;
    }
}

}  // namespace

extern "C" {

void* __cxa_allocate_exception(std::size_t size) noexcept { return std::malloc(size); }
void __cxa_free_exception(void* thrown) noexcept { std::free(thrown); }

[[noreturn]] void __cxa_throw(void* thrown, std::type_info* type, void (*)(void*)) {
    intact::system::fail(is_exception(type) ? static_cast<const std::exception*>(thrown)->what() : type->name());
}
[[noreturn]] void __cxa_rethrow() { intact::system::fail("an error was thrown again"); }
void* __cxa_begin_catch(void* thrown) noexcept { return thrown; }
void __cxa_end_catch() {}

// A thread lives as long as the module, so no thread-local object is ever destroyed.
int __cxa_thread_atexit(void (*)(void*), void*, void*) noexcept { return 0; }
}
