// CUDA as far as generated sources need it, played by a CPU.  No header is included: a kernel compiles in 0.1 s.
// Threads of a block run one after the other, or as fibers (fibers.cpp) where they wait for each other.

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __constant__ static const

typedef unsigned long long cuda_u64;
struct cuda_uint3 { unsigned int x, y, z; };
static cuda_uint3 threadIdx, blockIdx;
static cuda_uint3 blockDim, gridDim;
static const int warpSize = 32;

extern "C" {
int fibers_run(void (*thread)(void*), void* arguments, unsigned threads, unsigned* index, unsigned seed);
void fibers_begin(void** back);
int fibers_error();
void fibers_barrier();
cuda_u64* fibers_exchange(cuda_u64 bits, unsigned mask);
}

#define __syncthreads() fibers_barrier()
inline void __syncwarp(unsigned mask = 0xffffffffu) { fibers_exchange(0, mask); }
inline void __threadfence() {}

template <class T> inline T cuda_shuffle(unsigned mask, T value, unsigned source) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "shuffles take values of 4 or 8 bytes");
  cuda_u64 bits = 0;
  __builtin_memcpy(&bits, &value, sizeof(T));
  cuda_u64* lanes = fibers_exchange(bits, mask);
  __builtin_memcpy(&value, lanes + (source & 31u), sizeof(T));
  return value;
}
template <class T> inline T __shfl_sync(unsigned mask, T value, int source) {
  return cuda_shuffle(mask, value, (unsigned)source);
}
template <class T> inline T __shfl_xor_sync(unsigned mask, T value, int lanes) {
  return cuda_shuffle(mask, value, (threadIdx.x & 31u) ^ (unsigned)lanes);
}
template <class T> inline T __shfl_down_sync(unsigned mask, T value, unsigned by) {
  unsigned lane = threadIdx.x & 31u;
  return cuda_shuffle(mask, value, lane + by > 31u ? lane : lane + by);
}
template <class T> inline T __shfl_up_sync(unsigned mask, T value, unsigned by) {
  unsigned lane = threadIdx.x & 31u;
  return cuda_shuffle(mask, value, lane < by ? lane : lane - by);
}

inline int atomicAdd(int* p, int x) { int old = *p; *p = (int)((unsigned)old + (unsigned)x); return old; }
inline unsigned atomicAdd(unsigned* p, unsigned x) { unsigned old = *p; *p += x; return old; }

// What an entry takes: a letter for each parameter, and arguments of 8 bytes each that become whatever it is.

template <class T> struct cuda_kind { static const char value = '?'; };
template <class T> struct cuda_kind<T*> { static const char value = 'P'; };
#define CUDA_KIND(T, letter) template <> struct cuda_kind<T> { static const char value = letter; };
CUDA_KIND(bool, '@') CUDA_KIND(signed char, 'b') CUDA_KIND(unsigned char, 'B') CUDA_KIND(short, 'h')
CUDA_KIND(unsigned short, 'H') CUDA_KIND(int, 'i') CUDA_KIND(unsigned, 'I') CUDA_KIND(long long, 'q')
CUDA_KIND(cuda_u64, 'Q') CUDA_KIND(float, 'f') CUDA_KIND(double, 'd')
#undef CUDA_KIND
template <class... P> inline const char* cuda_kinds(void (*)(P...)) {
  static const char letters[] = {cuda_kind<P>::value..., 0};
  return letters;
}
struct cuda_argument {
  cuda_u64* bits;
  template <class T> operator T() const { return *(T*)bits; }
};

// Bits of numbers.

#define CUDA_BITS(name, to, from) \
  inline to name(from x) { to y; __builtin_memcpy(&y, &x, sizeof(y)); return y; }
CUDA_BITS(__float_as_uint, unsigned, float)
CUDA_BITS(__float_as_int, int, float)
CUDA_BITS(__uint_as_float, float, unsigned)
CUDA_BITS(__int_as_float, float, int)
CUDA_BITS(__double_as_longlong, long long, double)
CUDA_BITS(__longlong_as_double, double, long long)
#undef CUDA_BITS
inline cuda_u64 __umul64hi(cuda_u64 a, cuda_u64 b) { return (cuda_u64)(((unsigned __int128)a * b) >> 64); }
inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)(((cuda_u64)a * b) >> 32); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
inline int __ffs(int x) { return __builtin_ffs(x); }
template <class T> inline T __ldg(const T* p) { return *p; }

inline float half_to_float(unsigned short x) {
  _Float16 h;
  __builtin_memcpy(&h, &x, 2);
  return (float)h;
}
inline unsigned short float_to_half(float x) {
  _Float16 h = (_Float16)x;
  unsigned short y;
  __builtin_memcpy(&y, &h, 2);
  return y;
}

// Mathematics: the plain names of C, for float and for double.

#define CUDA_MATH1(NAME) \
  inline float NAME(float x) { return __builtin_##NAME##f(x); } \
  inline float NAME##f(float x) { return __builtin_##NAME##f(x); } \
  inline double NAME(double x) { return __builtin_##NAME(x); }
#define CUDA_MATH2(NAME) \
  inline float NAME(float x, float y) { return __builtin_##NAME##f(x, y); } \
  inline float NAME##f(float x, float y) { return __builtin_##NAME##f(x, y); } \
  inline double NAME(double x, double y) { return __builtin_##NAME(x, y); } \
  inline double NAME(float x, double y) { return __builtin_##NAME(x, y); } \
  inline double NAME(double x, float y) { return __builtin_##NAME(x, y); }
CUDA_MATH1(exp) CUDA_MATH1(exp2) CUDA_MATH1(expm1) CUDA_MATH1(log) CUDA_MATH1(log2) CUDA_MATH1(log1p)
CUDA_MATH1(sqrt) CUDA_MATH1(cbrt) CUDA_MATH1(tanh) CUDA_MATH1(sinh) CUDA_MATH1(cosh) CUDA_MATH1(atan)
CUDA_MATH1(erf) CUDA_MATH1(erfc) CUDA_MATH1(sin) CUDA_MATH1(cos) CUDA_MATH1(tan) CUDA_MATH1(floor) CUDA_MATH1(ceil)
CUDA_MATH1(rint) CUDA_MATH1(trunc) CUDA_MATH1(fabs)
CUDA_MATH2(pow) CUDA_MATH2(fmod) CUDA_MATH2(fmin) CUDA_MATH2(fmax) CUDA_MATH2(copysign)
#undef CUDA_MATH1
#undef CUDA_MATH2
inline float fma(float x, float y, float z) { return __builtin_fmaf(x, y, z); }
inline float fmaf(float x, float y, float z) { return __builtin_fmaf(x, y, z); }
inline double fma(double x, double y, double z) { return __builtin_fma(x, y, z); }
inline float rsqrt(float x) { return 1.0f / __builtin_sqrtf(x); }
inline float rsqrtf(float x) { return 1.0f / __builtin_sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / __builtin_sqrt(x); }
inline double cospi(double x) { return __builtin_cos(3.14159265358979323846 * x); }
inline double sinpi(double x) { return __builtin_sin(3.14159265358979323846 * x); }
inline float cospi(float x) { return (float)cospi((double)x); }
inline float sinpi(float x) { return (float)sinpi((double)x); }
inline void sincosf(float x, float* s, float* c) { *s = __builtin_sinf(x); *c = __builtin_cosf(x); }
inline void sincos(float x, float* s, float* c) { sincosf(x, s, c); }
inline void sincos(double x, double* s, double* c) { *s = __builtin_sin(x); *c = __builtin_cos(x); }
inline bool isnan(float x) { return __builtin_isnan(x); }
inline bool isnan(double x) { return __builtin_isnan(x); }
inline bool isinf(float x) { return __builtin_isinf(x); }
inline bool isinf(double x) { return __builtin_isinf(x); }
inline bool isfinite(float x) { return __builtin_isfinite(x); }
inline bool isfinite(double x) { return __builtin_isfinite(x); }
inline bool signbit(float x) { return __builtin_signbit(x); }
inline bool signbit(double x) { return __builtin_signbit(x); }
inline float abs(float x) { return __builtin_fabsf(x); }
inline double abs(double x) { return __builtin_fabs(x); }
inline int abs(int x) { return x < 0 ? -x : x; }
inline long long abs(long long x) { return x < 0 ? -x : x; }
#define CUDA_MINMAX(T) \
  inline T min(T x, T y) { return y < x ? y : x; } \
  inline T max(T x, T y) { return x < y ? y : x; }
CUDA_MINMAX(int) CUDA_MINMAX(unsigned) CUDA_MINMAX(long long) CUDA_MINMAX(cuda_u64)
#undef CUDA_MINMAX
// Results that the compiler must not join with what stands beside them.
#pragma GCC push_options
#pragma GCC optimize("fp-contract=off")
#define CUDA_ROUNDED(name, T, op) __attribute__((noinline)) static T name(T x, T y) { return x op y; }
CUDA_ROUNDED(__fadd_rn, float, +) CUDA_ROUNDED(__fsub_rn, float, -) CUDA_ROUNDED(__fmul_rn, float, *)
CUDA_ROUNDED(__fdiv_rn, float, /)
CUDA_ROUNDED(__dadd_rn, double, +) CUDA_ROUNDED(__dsub_rn, double, -) CUDA_ROUNDED(__dmul_rn, double, *)
CUDA_ROUNDED(__ddiv_rn, double, /)
#undef CUDA_ROUNDED
#pragma GCC pop_options
inline float __fsqrt_rn(float x) { return __builtin_sqrtf(x); }
inline float __fmaf_rn(float x, float y, float z) { return __builtin_fmaf(x, y, z); }
inline double __fma_rn(double x, double y, double z) { return __builtin_fma(x, y, z); }

// Vectors that are loaded and stored at once; their memory must be aligned to their size.

#define CUDA_VECTORS(T, name) \
  struct alignas(2 * sizeof(T)) name##2 { T x, y; }; \
  struct alignas(sizeof(T) == 8 ? 16 : 4 * sizeof(T)) name##4 { T x, y, z, w; }; \
  inline name##2 make_##name##2(T x, T y) { return {x, y}; } \
  inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
CUDA_VECTORS(float, float) CUDA_VECTORS(double, double) CUDA_VECTORS(int, int) CUDA_VECTORS(unsigned, uint)
CUDA_VECTORS(unsigned short, ushort) CUDA_VECTORS(long long, longlong)
#undef CUDA_VECTORS
